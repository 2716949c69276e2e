import { assertEquals, assertStringIncludes } from "@std/assert";
import type { WorkloadEvent } from "../../client/command/workload_report.ts";
import { ScriptProcess } from "../support/processes.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;

Deno.test("postcopy, installed as the README says, moves a guest from any directory, and has the daemon", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const env = { NO_COLOR: "1" };
    const install = await new Deno.Command(Deno.execPath(), {
      args: ["install", "-g", "-A", "-n", "postcopy", "--root", directory, MAIN],
      env,
    }).output();
    assertEquals(install.code, 0, new TextDecoder().decode(install.stderr));
    const postcopy = async (...args: string[]) => {
      const path = `${Deno.execPath().replace(/\/[^/]*$/, "")}:${Deno.env.get("PATH") ?? ""}`;
      const { code, stdout, stderr } = await new Deno.Command(`${directory}/bin/postcopy`, {
        args,
        cwd: directory,
        env: { ...env, PATH: path },
      }).output();
      const text = new TextDecoder();
      return { code, output: text.decode(stdout), errors: text.decode(stderr) };
    };
    const made = await postcopy("workload-image", "guest.img", "--size", "1M");
    assertEquals(made.code, 0, made.errors);

    const args = ["workload", "--listen", "tcp:127.0.0.1:0", "--json"];
    await using destination = new ScriptProcess("main.ts", args);
    const to = await destination.line("the address", (line) => {
      const event = JSON.parse(line) as WorkloadEvent;
      return event.event === "listening" ? event.address : undefined;
    });
    const served = await postcopy("serve", "guest.img", "--to", to ?? "");
    assertEquals(served.code, 0, served.errors);
    assertStringIncludes(served.output, "Completed in ");
    assertEquals((await destination.ended).code, 0);

    // What the daemon needs of npm is found without this project's configuration, with which it is not run.
    await Deno.writeTextFile(`${directory}/daemon.toml`, "[api]\nsoket = 1\n");
    const daemon = await postcopy("daemon", "--config", "daemon.toml");
    assertEquals(daemon.code, 3, daemon.errors);
    assertStringIncludes(daemon.errors, "daemon.toml:2: Unknown key: soket: did you mean socket?");
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("postcopy, installed as docs/daemon.md says, writes nothing beside the command, where the service may not", async () => {
  const page = await Deno.readTextFile(new URL("../../docs/daemon.md", import.meta.url));
  const [, line] = /^deno (install .* main\.ts)$/m.exec(page)!;
  const directory = await Deno.makeTempDir();
  try {
    const args = line!.replace("/usr/local", directory).replace("main.ts", MAIN).split(" ");
    const env = {
      NO_COLOR: "1",
      PATH: `${Deno.execPath().replace(/\/[^/]*$/, "")}:${Deno.env.get("PATH") ?? ""}`,
    };
    const install = await new Deno.Command(Deno.execPath(), { args, env }).output();
    assertEquals(install.code, 0, new TextDecoder().decode(install.stderr));
    await Deno.writeTextFile(`${directory}/daemon.toml`, "");
    const files = async () =>
      (await Array.fromAsync(Deno.readDir(`${directory}/bin/.postcopy`))).map(({ name }) => name);
    const before = await files();
    const check = await new Deno.Command(`${directory}/bin/postcopy`, {
      args: ["daemon", "--check", "--config", `${directory}/daemon.toml`],
      env,
    }).output();
    assertEquals(check.code, 0, new TextDecoder().decode(check.stderr));
    assertEquals(await files(), before);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
