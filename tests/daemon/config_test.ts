/** The configuration of the daemon. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { ConfigError } from "../../daemon/config/config_error.ts";
import { parseConfig } from "../../daemon/config/read_config.ts";
import { LAZY } from "../../client/command/lazy_command.ts";
import { RECEIVE } from "../../client/command/receive_command.ts";
import { SERVE } from "../../server/command/serve_command.ts";
import { SECTIONS } from "../../daemon/config/command_sections.ts";
import { knownKeys } from "../../daemon/schema/known_keys.ts";

/** What is wrong with a text, a line each. */
function faultsOf(text: string, path = "daemon.toml"): string[] {
  const error = assertThrows(() => parseConfig(path, text), ConfigError);
  return error.message.split("\n");
}

Deno.test("parseConfig names an unknown key with its line, and what it may have meant", () => {
  const text = ["[api]", "group = 'x'", "soket = '/run/x'", "", "[limits]", "sesions = 3"];
  assertEquals(faultsOf(text.join("\n")), [
    "daemon.toml:3: Unknown key: soket: did you mean socket? (in api)",
    "daemon.toml:6: Unknown key: sesions: did you mean sessions? (in limits)",
  ]);
});

Deno.test("parseConfig names an unknown key of JSON with its line", () => {
  const text =
    '{\n  // a comment\n  "api": {\n    "tcp": {"listne": "tcp:[::1]:1", "tokenFile": "/t"},\n  },\n}';
  const faults = faultsOf(text, "daemon.json");
  assert(
    faults.includes("daemon.json:4: Unknown key: listne: did you mean listen? (in api.tcp)"),
    faults.join(),
  );
});

Deno.test("parseConfig names the line of each wrong value, in tables of every form", () => {
  const text = [
    'stateDirectory = "state"',
    "limits = { sessions = 0, bandwidth = '1X' }",
    "log.format = 'xml'",
    "[images.files]",
    "web = 'web.img'",
  ].join("\n");
  const faults = faultsOf(text);
  assertEquals(faults.map((fault) => fault.split(":")[1]), ["1", "2", "2", "3", "5"]);
  assert(
    faults[0]!.includes('stateDirectory: No whole path, begin with a slash: "state"'),
    faults[0],
  );
  assert(
    faults[2]!.includes('limits.bandwidth: No number of bytes, write for example 512M: "1X"'),
    faults[2],
  );
});

Deno.test("parseConfig says of a key that is missing in which table, and what it is", () => {
  const tcp = "[limits]\nsessions = 3\n\n[api.tcp]\ninsecure = true\n";
  assertEquals(faultsOf(tcp), [
    "daemon.toml:4: api.tcp.listen: Missing: add it (string)",
    "daemon.toml:4: api.tcp.tokenFile: Missing: add it (string)",
  ]);
  const inline = "[api.tcp]\nlisten = 'tcp::1'\ntokenFile = '/t'\ntls = { cert = '/cert' }\n";
  assertEquals(faultsOf(inline), ["daemon.toml:4: api.tcp.tls.key: Missing: add it (string)"]);
  const json = '{\n"api": {\n"tcp": {"listen": "tcp::1", "insecure": true}}}';
  assertEquals(faultsOf(json, "daemon.json"), [
    "daemon.json:3: api.tcp.tokenFile: Missing: add it (string)",
  ]);
});

Deno.test("parseConfig tells where text is no TOML, or no JSON", () => {
  assertEquals(faultsOf("a = 1\nb = = 2\n")[0]!.startsWith("daemon.toml:2: "), true);
  assertEquals(faultsOf('{\n"api": \n', "x.json")[0]!.startsWith("x.json:"), true);
});

Deno.test("parseConfig takes the options of commands in their words, and says what is wrong as they do", () => {
  const { serve, receive, lazy } = parseConfig(
    "daemon.toml",
    `
[serve]
max-postcopy-bandwidth = "100M"
stall-timeout = 5
compress = "zstd"
compress-level = -3
warm = 100
[receive]
multifd = 4
allow-from = "192.0.2.0/24"
[lazy]
on-loss = "poison"
no-fill = true
lost-after = 3
`,
  );
  assertEquals(serve.source.maxPostcopyBandwidth, 100 << 20);
  assertEquals(serve.source.stallTimeout, 5000);
  assertEquals(serve.source.compress?.level, -3);
  assertEquals(serve.order.options.warm, 100);
  assertEquals([receive.multifdChannels, receive.allowFrom], [4, ["192.0.2.0/24"]]);
  assertEquals([lazy.onLoss, lazy.fill, lazy.lostAfter], ["poison", false, 3000]);
  const faults = faultsOf(
    "[serve]\nspin = 1\nmax-postcopy-bandwidth = '12Q'\n[receive]\nmultifd = 999\n",
  );
  assert(
    faults[0]!.startsWith("daemon.toml:3: serve.max-postcopy-bandwidth: No number of bytes"),
    faults[0],
  );
  assert(faults[1]!.startsWith("daemon.toml:"), faults[1]);
  const [unknown] = faultsOf("[serve]\nmax-bandwidth = 1\n");
  assert(unknown!.includes("Unknown key: max-bandwidth"), unknown);
});

/** Options that are said when a session is started, or that are the terminal's. */
const OF_ONE: Readonly<Record<string, readonly string[]>> = {
  serve: [
    "to",
    "recover",
    "start-anew",
    "huge-pages",
    "offset",
    "listen",
    "format",
    "tls-authz",
    "json",
  ],
  receive: ["listen", "image", "recover", "overwrite", "json"],
  lazy: [
    ...["firecracker", "image", "from", "order", "held-by", "holder", "dirty", "json"],
    ...["criu", "criu-work-dir", "criu-page-server", "criu-version"],
  ],
};

Deno.test("parseConfig knows every option of serve, receive and lazy that is not of one session alone", () => {
  for (
    const [name, { options }] of Object.entries({ serve: SERVE, receive: RECEIVE, lazy: LAZY })
  ) {
    const known = knownKeys(SECTIONS[name as keyof typeof SECTIONS], []);
    const said = OF_ONE[name]!;
    const all = Object.keys(options);
    assertEquals(all.filter((each) => !said.includes(each) && !known.includes(each)), [], name);
    assertEquals(known.filter((each) => !all.includes(each)), [], name);
  }
});

Deno.test("parseConfig refuses TCP in clear unless that is wanted, and a daemon that nobody can ask", () => {
  const tcp = "[api.tcp]\nlisten = 'tcp:127.0.0.1:4480'\ntokenFile = '/t'\n";
  const [clear] = faultsOf(tcp);
  assert(clear!.includes("Token and answers would pass in clear"), clear);
  assertEquals(parseConfig("x", `${tcp}insecure = true`).api.tcp?.insecure, true);
  const [nobody] = faultsOf("api.socket = ''\n");
  assert(nobody!.startsWith("daemon.toml:1: api.socket: Nobody could ask"), nobody);
  const [unix] = faultsOf(tcp.replace("tcp:127.0.0.1:4480", "unix:/x") + "insecure = true\n");
  assert(unix!.includes("No address of TCP: unix:/x"), unix);
});

Deno.test("parseConfig of nothing is a daemon at a unix socket with the default directories", () => {
  const { api, stateDirectory, limits } = parseConfig("daemon.toml", "");
  assertEquals(api.socket, "/run/postcopy/daemon.sock");
  assertEquals(api.tcp, undefined);
  assertEquals(stateDirectory, "/var/lib/postcopy");
  assertEquals(limits.memory, Infinity);
});

Deno.test("parseConfig takes every configuration that the documentation shows, and that contrib has", async () => {
  const root = new URL("../../", import.meta.url);
  const document = await Deno.readTextFile(new URL("docs/daemon.md", root));
  const shown = [...document.matchAll(/^```toml\n([^]*?)^```$/gm)].map(([, text]) => text!);
  assert(shown.length >= 2, `${shown.length}`);
  const ours = await Deno.readTextFile(new URL("contrib/systemd/daemon.toml", root));
  for (const text of [...shown, ours]) parseConfig("daemon.toml", text);
});
