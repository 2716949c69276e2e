/** `postcopy daemon --check`. */
import "../support/native.ts";
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { parseConfig } from "../../daemon/config/read_config.ts";
import { checkStart } from "../../daemon/life/check_start.ts";
import { DaemonError } from "../../daemon/service/daemon_error.ts";
import { Authority } from "../../qemu/authority.ts";
import { within } from "../support/deadline.ts";
import { ScriptProcess } from "../support/processes.ts";
import { testUnless } from "../support/skip.ts";
import { needsOpenssl } from "../tls/authority.ts";
import { configText, withConfig } from "./test_daemon.ts";

const TOKEN = "0123456789abcdef0123456789abcdef";

/** Checks a configuration, with what stands in it besides. */
function check(directory: string, more: string): Promise<string[]> {
  return checkStart(parseConfig("daemon.toml", configText(directory, more)));
}

/** What a check finds to be missing, a line each. */
async function problemsOf(directory: string, more: string): Promise<string[]> {
  const error = await assertRejects(() => check(directory, more), DaemonError);
  return error.message.split("\n");
}

/** The TCP side. */
function tcp(token: string, more = "insecure = true"): string {
  return `[api.tcp]\nlisten = "tcp:127.0.0.1:1"\ntokenFile = "${token}"\n${more}`;
}

Deno.test("postcopy daemon --check says that a configuration can be used", () =>
  withConfig(async (_directory, config) => {
    await using daemon = new ScriptProcess("main.ts", ["daemon", "--config", config, "--check"]);
    const { code, output, errors } = await within("its end", daemon.ended);
    assertEquals([code, output], [0, `Configuration can be used: ${config}`], errors);
  }));

Deno.test("postcopy daemon --check names all that a start would miss, and ends with 1", () =>
  withConfig(async (directory, config) => {
    for (const name of ["images", "tls"]) await Deno.remove(`${directory}/${name}`);
    const more = `api.group = "no-such-group-here"\n${tcp(`${directory}/token`)}`;
    await Deno.writeTextFile(config, configText(directory, more));
    await using daemon = new ScriptProcess("main.ts", ["daemon", "--config", config, "--check"]);
    const { code, output, errors } = await within("its end", daemon.ended);
    assertEquals([code, output], [1, ""]);
    const expected = [
      `postcopy: No such directory: ${directory}/images: make it`,
      `No such directory: ${directory}/tls: make it`,
      "No such group: no-such-group-here: make it",
      `Token cannot be read: ${directory}/token: `,
    ];
    const lines = errors.trimEnd().split("\n");
    assertEquals(lines.map((line, at) => line.slice(0, expected[at]?.length)), expected);
  }));

Deno.test("checkStart takes a token that a start takes, and no other", () =>
  withConfig(async (directory) => {
    const path = `${directory}/token`;
    for (
      const [text, mode, expected] of [
        ["short\n", 0o600, "Token of fewer than 16 characters"],
        [`${TOKEN}\n`, 0o644, "Token that others may read"],
        [`${TOKEN}\n`, 0o600, undefined],
      ] as const
    ) {
      await Deno.writeTextFile(path, text);
      await Deno.chmod(path, mode);
      if (expected === undefined) assertEquals(await check(directory, tcp(path)), []);
      else assertStringIncludes((await problemsOf(directory, tcp(path))).join(), expected);
    }
  }));

testUnless(
  needsOpenssl(),
  "checkStart takes a certificate with its key, and no other",
  () =>
    withConfig(async (directory) => {
      await using authority = await Authority.make();
      await authority.issue("server", { purpose: "serverAuth" });
      await authority.issue("other", { purpose: "serverAuth" });
      const token = `${directory}/token`;
      await Deno.writeTextFile(token, TOKEN, { mode: 0o600 });
      const tls = (cert: string, key: string) =>
        tcp(token, `tls = { cert = "${authority.path(cert)}", key = "${authority.path(key)}" }`);
      assertEquals(await check(directory, tls("server-cert.pem", "server-key.pem")), []);
      const [other] = await problemsOf(directory, tls("server-cert.pem", "other-key.pem"));
      assertStringIncludes(other!, "must be PEM files that belong together");
      const [none] = await problemsOf(directory, tls("server-cert.pem", "no-key.pem"));
      assertStringIncludes(
        none!,
        `File of api.tcp.tls.key cannot be read: ${authority.path("no-key.pem")}`,
      );
    }),
);

Deno.test("checkStart only notes a directory that systemd makes at the start", () =>
  withConfig(async (directory) => {
    const path = "/run/no-such-service-here/sockets";
    const config = parseConfig("daemon.toml", configText(directory));
    const directories = { ...config.directories, sockets: path };
    assertEquals(await checkStart({ ...config, directories }), [
      `Not there yet: ${path}: systemd makes it (RuntimeDirectory=)`,
    ]);
  }));

Deno.test("checkStart leaves a daemon that runs, and a state directory that is to be made, as they are", () =>
  withConfig(async (directory, config) => {
    await Deno.remove(`${directory}/state`);
    assertEquals(await check(directory, ""), []);
    await assertRejects(() => Deno.stat(`${directory}/state`), Deno.errors.NotFound);
    await using daemon = new ScriptProcess("main.ts", ["daemon", "--config", config]);
    assertEquals(await daemon.says(`unix:${directory}/daemon.sock`), true);
    assertEquals(await check(directory, ""), []);
    assertEquals(daemon.over, false);
  }));
