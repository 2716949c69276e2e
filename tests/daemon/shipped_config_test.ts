/** The configuration that comes with the unit files; the units themselves: tests/systemd. */
import { assert, assertEquals } from "@std/assert";
import { DEFAULT_SOCKET } from "../../daemon/command/daemon_address.ts";
import { parseConfig, readConfig } from "../../daemon/config/read_config.ts";

Deno.test("contrib/systemd/daemon.toml is a configuration, and names the socket that the words look for", async () => {
  const path = new URL("../../contrib/systemd/daemon.toml", import.meta.url).pathname;
  const { api, stateDirectory, images } = await readConfig(path);
  assertEquals(api.socket, DEFAULT_SOCKET);
  // What the unit lets it write.
  for (const place of [stateDirectory, images.directory!]) {
    assert(place.startsWith("/var/lib/postcopy/"));
  }
  const commented = (await Deno.readTextFile(path)).replaceAll(/^# (?=\[|[\w-]+ = )/gm, "");
  const all = parseConfig(path, commented);
  assertEquals([all.api.tcp?.listen.port, all.limits.bandwidth], [8443, 500 * 2 ** 20]);
  assertEquals(all.serve.source.stallTimeout, 60_000);
});

Deno.test("docs/daemon.md shows a configuration that can be used, and with which a stock QEMU can be restored to", async () => {
  const page = await Deno.readTextFile(new URL("../../docs/daemon.md", import.meta.url));
  const blocks = [...page.matchAll(/^```toml\n([\s\S]*?)^```$/gm)].map(([, block]) => block);
  assertEquals(blocks.length, 2);
  const { api, serve } = parseConfig("daemon.toml", blocks.join(""));
  assertEquals(api.tcp?.hosts, ["images.example.org"]);
  // Compression, multifd and TLS want a destination that was told of them.
  const { compress, multifd, tls } = serve.source;
  assertEquals([compress, multifd, tls], [undefined, undefined, undefined]);
});
