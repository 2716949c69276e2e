import { assert, assertEquals } from "@std/assert";

const ROOT = new URL("../../", import.meta.url);

Deno.test("deno publish takes what an installed command loads, and no tests, benchmarks or tools", async () => {
  const run = async (...args: string[]) => {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args,
      cwd: ROOT,
      env: { NO_COLOR: "1" },
    }).output();
    const text = new TextDecoder();
    assertEquals(code, 0, text.decode(stderr));
    return { output: text.decode(stdout), errors: text.decode(stderr) };
  };
  const { errors } = await run("publish", "--dry-run", "--allow-dirty");
  const files = errors.matchAll(/^ *file:\/\/(\S+) \(/gm)
    .map(([, file]) => file!.slice(ROOT.pathname.length));
  const published = new Set(files);
  const { output } = await run("info", "--json", "main.ts");
  const needed = (JSON.parse(output) as { modules: { specifier: string }[] }).modules
    .filter(({ specifier }) => specifier.startsWith(ROOT.href))
    .map(({ specifier }) => specifier.slice(ROOT.href.length));
  assert(needed.length > 100);
  assertEquals(needed.filter((file) => !published.has(file)), []);
  const rooms = new Set([...published].map((file) => file.split("/")[0]!));
  const others = ["tests", "bench", "demo", "tools", "qemu", ".ci", ".git", "node_modules"];
  assertEquals(others.filter((room) => rooms.has(room)), []);
});
