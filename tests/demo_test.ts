import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { needsRoot, testUnless } from "./support/skip.ts";

const SMALL = ["--size", "32M", "--bandwidth", "16M"];
const NOBODY = 65534;
/** What the demo loads. */
const ROOMS = [
  ...["channel", "client", "demo", "ffi", "image", "migration", "pages", "server", "workload"],
];
const checkout = new URL("../", import.meta.url).pathname;

interface Outcome {
  readonly code: number;
  readonly output: string;
}

/** A directory of the test's own for what the demo writes, removed afterwards. */
async function withDirectory(use: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir({ dir: "/var/tmp" });
  try {
    await use(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

function startDemo(directory: string, args: readonly string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", `${checkout}demo/demo.ts`, ...args],
    env: { TMPDIR: directory },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function outcome(demo: Deno.ChildProcess): Promise<Outcome> {
  const { code, stdout, stderr } = await demo.output();
  const decoder = new TextDecoder();
  return { code, output: decoder.decode(stdout) + decoder.decode(stderr) };
}

/** Processes with a text in their command line that write below a directory. */
async function processesOf(directory: string, text: string): Promise<number[]> {
  const found: number[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const environment = await Deno.readTextFile(`/proc/${name}/environ`);
      const command = await Deno.readTextFile(`/proc/${name}/cmdline`);
      if (environment.includes(`TMPDIR=${directory}\0`) && command.includes(text)) {
        found.push(Number(name));
      }
    } catch {
      // It ended meanwhile.
    }
  }
  return found;
}

/** Waits until such a process is there; fails when the demo ends first. */
async function processOf(
  directory: string,
  text: string,
  ended: Promise<Outcome>,
): Promise<number> {
  let outcome: Outcome | undefined;
  ended.then((result) => outcome = result);
  while (outcome === undefined) {
    const [pid] = await processesOf(directory, text);
    if (pid !== undefined) return pid;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`Demo ended before there was a process ${text}: ${outcome.output}`);
}

async function assertNothingLeft(directory: string): Promise<void> {
  assertEquals([...Deno.readDirSync(directory)], []);
  assertEquals(await processesOf(directory, ""), []);
}

Deno.test("demo moves the guest, checks every byte and leaves nothing behind", async () => {
  await withDirectory(async (directory) => {
    const { code, output } = await outcome(startDemo(directory, SMALL));
    assertEquals(code, 0, output);
    assertStringIncludes(output, "all right");
    assertStringIncludes(output, "█");
    await assertNothingLeft(directory);
  });
});

Deno.test("demo refuses what it does not understand", async () => {
  await withDirectory(async (directory) => {
    const { code, output } = await outcome(startDemo(directory, ["--size", "12"]));
    assertEquals(code, 2);
    assertStringIncludes(output, "Size is no positive multiple of 4096: 12");
  });
});

Deno.test("demo leaves nothing behind when it is interrupted", async () => {
  await withDirectory(async (directory) => {
    const demo = startDemo(directory, ["--size", "256M", "--bandwidth", "1M"]);
    const ended = outcome(demo);
    await processOf(directory, "server/main.ts", ended);
    demo.kill("SIGINT");
    const { code, output } = await ended;
    assertEquals(code, 1);
    assertStringIncludes(output, "Interrupted by SIGINT");
    await assertNothingLeft(directory);
  });
});

Deno.test("demo fails and leaves nothing behind when a process dies", async () => {
  for (const victim of ["server/main.ts", "client/main.ts"]) {
    await withDirectory(async (directory) => {
      const ended = outcome(startDemo(directory, ["--size", "256M", "--bandwidth", "1M"]));
      await processOf(directory, "server/main.ts", ended);
      Deno.kill(await processOf(directory, victim, ended), "SIGKILL");
      const { code, output } = await ended;
      assertEquals(code, 1);
      assertStringIncludes(output, "ended with SIGKILL");
      await assertNothingLeft(directory);
    });
  }
});

testUnless(
  needsRoot(),
  "demo works for an unprivileged user, from a checkout that user cannot write to",
  async () => {
    await withDirectory(async (directory) => {
      await Deno.chmod(directory, 0o755);
      await copyForEveryone(directory);
      const temporary = `${directory}/tmp`;
      await Deno.mkdir(temporary, { mode: 0o700 });
      await Deno.chown(temporary, NOBODY, NOBODY);
      const { code, output } = await outcome(
        new Deno.Command(`${directory}/deno`, {
          args: ["run", "-A", "demo/demo.ts", ...SMALL],
          cwd: directory,
          clearEnv: true,
          env: { TMPDIR: temporary, PATH: "/usr/bin:/bin" },
          uid: NOBODY,
          gid: NOBODY,
          stdout: "piped",
          stderr: "piped",
        }).spawn(),
      );
      assertEquals(code, 0, output);
      assertStringIncludes(output, "all right");
      assertEquals([...Deno.readDirSync(temporary)], []);
    });
  },
);

/** Copies Deno and the demo to where another user may read them; both may lie in a closed home. */
async function copyForEveryone(directory: string): Promise<void> {
  await Deno.copyFile(Deno.execPath(), `${directory}/deno`);
  await Deno.chmod(`${directory}/deno`, 0o755);
  await Deno.copyFile(`${checkout}deno.json`, `${directory}/deno.json`);
  const { success } = await new Deno.Command("cp", {
    args: ["-r", "--no-preserve=mode", ...ROOMS.map((room) => checkout + room), directory],
  }).output();
  assert(success);
}
