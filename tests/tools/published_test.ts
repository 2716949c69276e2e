import { assert, assertEquals } from "@std/assert";

interface Config {
  readonly exports: Readonly<Record<string, string>>;
  readonly imports: Readonly<Record<string, string>>;
  readonly tasks: { readonly publishable: { readonly command: string } };
}

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
  // Types are checked with it below, by the task.
  const { errors } = await run("publish", "--dry-run", "--allow-dirty", "--no-check");
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

Deno.test("deno.json maps what examples import to what is published, and checks all of it", async () => {
  const text = await Deno.readTextFile(new URL("deno.json", ROOT));
  const { exports, imports, tasks } = JSON.parse(text) as Config;
  const mapped = Object.entries(imports).filter(([name]) => name.startsWith("postcopy"));
  const published = Object.entries(exports).map(([key, file]) => [`postcopy${key.slice(1)}`, file]);
  assertEquals(mapped, published);
  const { command } = tasks.publishable;
  const files = Object.values(exports).map((file) => file.replace("./", ""));
  assertEquals(command.startsWith(`deno doc --lint ${files.join(" ")} && `), true, command);
});

Deno.test("a task fetches nothing before it runs", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["task", "--cwd", ROOT.pathname, "publishable"],
      env: { DENO_DIR: directory, NO_COLOR: "1" },
    }).output();
    const errors = new TextDecoder().decode(stderr);
    assertEquals(code, 0, errors);
    assertEquals(/Download|Warning/.test(errors), false, errors);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
