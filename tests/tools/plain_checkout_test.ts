import { assertEquals } from "@std/assert";

const ROOT = new URL("../../", import.meta.url).pathname;
/** What only tests and the set-up need, or the set-up makes. */
const LEFT_OUT = new Set(["tests", "bench", "demo", "tools", "node_modules"]);

Deno.test("a checkout without node_modules passes deno check, and nothing is fetched for it", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const entries = [...Deno.readDirSync(ROOT)]
      .map(({ name }) => name)
      .filter((name) => !name.startsWith(".") && !LEFT_OUT.has(name));
    const copy = await new Deno.Command("cp", {
      args: ["-r", ...entries.map((name) => ROOT + name), directory],
    }).output();
    assertEquals(copy.success, true);
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        "check",
        "--no-remote",
        "--no-npm",
        "mod.ts",
        "main.ts",
        "server/mod.ts",
        "client/mod.ts",
      ],
      cwd: directory,
      env: { DENO_DIR: `${directory}/.cache`, NO_COLOR: "1" },
    }).output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
