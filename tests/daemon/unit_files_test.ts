/** The unit files that come with the project. */
import { assert, assertEquals } from "@std/assert";
import { DEFAULT_SOCKET } from "../../daemon/command/daemon_address.ts";
import { parseConfig, readConfig } from "../../daemon/config/read_config.ts";
import { findCommand } from "../../tools/find_command.ts";
import { skipReason, testUnless } from "../support/skip.ts";

const UNIT = new URL("../../contrib/systemd/postcopy.service", import.meta.url);
const NO_SYSTEMD = findCommand("systemd-analyze") === undefined
  ? skipReason("no support", "This host has no systemd")
  : undefined;
const LIBC = new URL("../../ffi/libc.ts", import.meta.url);

testUnless(
  NO_SYSTEMD,
  "postcopy.service is what systemd understands, all of it",
  async () => {
    const directory = await Deno.makeTempDir({ prefix: "postcopy-test-" });
    try {
      // What it starts need not be installed here.
      const text = (await Deno.readTextFile(UNIT)).replace(/^ExecStart=\S+/m, "ExecStart=/bin/sh");
      await Deno.writeTextFile(`${directory}/postcopy.service`, text);
      const { code, stderr } = await new Deno.Command("systemd-analyze", {
        args: ["verify", "--man=no", "--recursive-errors=no", `${directory}/postcopy.service`],
      }).output();
      const said = new TextDecoder().decode(stderr);
      assertEquals([code, said], [0, ""]);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  },
);

testUnless(
  NO_SYSTEMD,
  "postcopy.service lets through every system call that the project makes",
  async () => {
    const unit = await Deno.readTextFile(UNIT);
    const allowed = new Set<string>();
    const add = async (word: string): Promise<void> => {
      if (!word.startsWith("@")) return void allowed.add(word);
      const { stdout } = await new Deno.Command("systemd-analyze", {
        args: ["syscall-filter", word],
      }).output();
      const lines = new TextDecoder().decode(stdout).split("\n").slice(1).map((line) =>
        line.trim()
      );
      for (const line of lines) if (line !== "" && !line.startsWith("#")) await add(line);
    };
    for (const [, words] of unit.matchAll(/^SystemCallFilter=(.*)$/gm)) {
      for (const word of words!.split(" ")) await add(word);
    }
    const symbols = (await Deno.readTextFile(LIBC)).matchAll(
      /^ {2}([a-z]\w*): \{(?:\n {4}name: "(\w+)")?/gm,
    );
    const calls = [...symbols].map(([, name, called]) =>
      called === undefined || called === "syscall" ? name! : called
    );
    assert(calls.includes("mincore") && calls.includes("process_vm_writev"));
    const refused = calls.filter((name) => !allowed.has(name) && !OF_THE_LIBRARY.has(name));
    assertEquals(refused, []);
  },
);

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

/** Functions of the C library that make other calls, or none; and calls by another name. */
const OF_THE_LIBRARY = new Set([
  ...[
    "pread",
    "pwrite",
    "if_nametoindex",
    "memcpy",
    "sysconf",
    "syscall",
    "epoll_pwait2",
    "epollWaitAsync",
  ],
]);
