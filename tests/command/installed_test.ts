import { assertEquals, assertStringIncludes } from "@std/assert";
import type { WorkloadEvent } from "../../client/command/workload_report.ts";
import { ScriptProcess } from "../support/processes.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;

Deno.test("postcopy, installed as the README says, moves a guest from any directory", async () => {
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
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
