/** `postcopy daemon` as a process. */
import { assert, assertEquals } from "@std/assert";
import { within } from "../support/deadline.ts";
import { ScriptProcess } from "../support/processes.ts";
import { unixClient, withConfig } from "./test_daemon.ts";

Deno.test("postcopy daemon answers at its socket, and ends when it is told to, leaving none", () =>
  withConfig(async (directory, config) => {
    const socket = `${directory}/daemon.sock`;
    await using daemon = new ScriptProcess("main.ts", ["daemon", "--config", config]);
    assert(await daemon.says(`unix:${socket}`));
    assertEquals((await Deno.stat(socket)).mode! & 0o777, 0o600);
    using client = unixClient(socket);
    const response = await fetch("http://localhost/v1/health", { client });
    const { pid } = await response.json();
    assertEquals(pid, daemon.pid);
    await using second = new ScriptProcess("main.ts", ["daemon", "--config", config]);
    const refused = await within("the second one's end", second.ended);
    assertEquals(refused.code, 1, refused.errors);
    assert(refused.errors.includes("State directory is another daemon's"), refused.errors);
    daemon.kill("SIGTERM");
    const { code, errors } = await within("its end", daemon.ended);
    assertEquals(code, 0, errors);
    assertEquals(
      [...Deno.readDirSync(directory)].some(({ name }) => name === "daemon.sock"),
      false,
    );
  }));

Deno.test("postcopy daemon takes the place of one that was killed", () =>
  withConfig(async (directory, config) => {
    const socket = `${directory}/daemon.sock`;
    await using first = new ScriptProcess("main.ts", ["daemon", "--config", config]);
    assert(await first.says(`unix:${socket}`));
    first.kill("SIGKILL");
    await within("its end", first.ended);
    assert((await Deno.lstat(socket)).isSocket);
    await using second = new ScriptProcess("main.ts", ["daemon", "--config", config]);
    assert(await second.says(`unix:${socket}`));
    using client = unixClient(socket);
    const response = await fetch("http://localhost/v1/health", { client });
    assertEquals((await response.json()).pid, second.pid);
  }));

Deno.test("postcopy daemon says in which line its configuration is wrong, and ends with 3", () =>
  withConfig(async (_directory, config) => {
    await using daemon = new ScriptProcess("main.ts", ["daemon", "--config", config, "--check"]);
    const { code, errors } = await within("its end", daemon.ended);
    assertEquals(code, 3);
    assert(
      errors.includes(`${config}:6: Unknown key: sesions: did you mean sessions? (in limits)`),
      errors,
    );
  }, "[limits]\nsesions = 1"));

Deno.test("postcopy help daemon needs no package of npm, and the daemon says where they are had, and how", () =>
  withConfig(async (directory, config) => {
    const env = { DENO_DIR: `${directory}/empty`, NO_COLOR: "1" };
    await using help = new ScriptProcess("main.ts", ["help", "daemon"], env);
    const helped = await within("its end", help.ended);
    assertEquals(helped.code, 0, helped.errors);
    assert(helped.output.includes("--config FILE"), helped.output);
    for (const more of [["--check"], []]) {
      await using daemon = new ScriptProcess(
        "main.ts",
        ["daemon", "--config", config, ...more],
        env,
      );
      const { code, errors } = await within("its end", daemon.ended);
      assertEquals(code, 1, errors);
      assertEquals(errors.trimEnd().split("\n").length, 1, errors);
      assert(errors.startsWith("postcopy: Packages that the daemon needs are not in"), errors);
      assert(errors.includes("the registry of npm, https://registry.npmjs.org: "), errors);
      assert(
        errors.includes(`run once: DENO_DIR=${directory}/empty postcopy daemon --check: `),
        errors,
      );
    }
  }));

Deno.test("no command but daemon has Deno look for packages of npm", async () => {
  const { stdout, success } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", new URL("../../main.ts", import.meta.url).pathname],
    env: { NO_COLOR: "1" },
  }).output();
  assertEquals(success, true);
  const { modules } = JSON.parse(new TextDecoder().decode(stdout)) as {
    readonly modules: readonly { readonly specifier: string }[];
  };
  assert(modules.length > 100);
  const found = modules.map(({ specifier }) => specifier)
    .filter((specifier) => specifier.startsWith("npm:"));
  assertEquals(found, []);
});
