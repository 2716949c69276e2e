import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { testedQemus } from "./interop/qemus.ts";
import type { QemuBinary } from "../qemu/qemu_binary.ts";
import { testUnless } from "./support/skip.ts";

const DEMO = new URL("../demo/qemu.ts", import.meta.url).pathname;
/** A small guest, whose memory takes minutes to arrive. */
const ENDLESS = ["--memory", "16", "--bandwidth", "64K"];

interface Outcome {
  readonly code: number;
  readonly output: string;
}

/** Runs the demo, hands it to `act`, and sees that it leaves neither a process nor a file. */
async function runDemo(
  binary: Pick<QemuBinary, "command" | "root">,
  args: readonly string[],
  act: (demo: Deno.ChildProcess, directory: string) => Promise<void> = async () => {},
): Promise<Outcome> {
  const directory = await Deno.makeTempDir({ prefix: "postcopy-test-" });
  try {
    const demo = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", DEMO, ...args],
      env: {
        TMPDIR: directory,
        QEMU_SYSTEM: binary.command.join(" "),
        QEMU_ROOT: binary.root,
        NO_COLOR: "1",
      },
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const [{ code }, stdout, stderr] = await Promise.all([
      demo.status,
      new Response(demo.stdout).text(),
      new Response(demo.stderr).text(),
      act(demo, directory),
    ]);
    assertEquals([...Deno.readDirSync(directory)], []);
    assertEquals(processesOf(directory), []);
    return { code, output: stdout + stderr };
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** Command lines of the processes that a demo with this temporary directory started. */
function processesOf(directory: string): { pid: number; command: string }[] {
  const found: { pid: number; command: string }[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (!Deno.readTextFileSync(`/proc/${name}/environ`).includes(`TMPDIR=${directory}\0`)) {
        continue;
      }
      const command = Deno.readTextFileSync(`/proc/${name}/cmdline`).replaceAll("\0", " ");
      found.push({ pid: Number(name), command });
    } catch {
      // It ended meanwhile.
    }
  }
  return found;
}

/** Waits until the demo has a process with this in its command line. */
async function processOf(
  demo: Deno.ChildProcess,
  directory: string,
  text: string,
): Promise<number> {
  let ended = false;
  demo.status.then(() => ended = true);
  while (!ended) {
    const process = processesOf(directory).find(({ command }) => command.includes(text));
    if (process !== undefined) return process.pid;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`Demo ended before there was a process: ${text}`);
}

for (const { name, binary, skip } of await testedQemus()) {
  testUnless(skip, `demo:qemu lets a saved guest count on, with ${name}`, async () => {
    const { code, output } = await runDemo(binary, ["--memory", "16"]);
    assertEquals(code, 0, output);
    assertMatch(output, /The guest went on in round \d+, where it had stopped/);
    assertMatch(output, /pages asked for +\d/);
  });

  testUnless(
    skip,
    `demo:qemu leaves nothing behind when it is interrupted, with ${name}`,
    async () => {
      // The first QEMU, the source while the guest runs at the second one.
      for (const moment of ["-nodefaults", "server/main.ts"]) {
        const { code, output } = await runDemo(binary, ENDLESS, async (demo, directory) => {
          await processOf(demo, directory, moment);
          demo.kill("SIGINT");
        });
        assertEquals(code, 1, output);
        assertMatch(output, /^postcopy: Interrupted by SIGINT$/m);
      }
    },
  );

  testUnless(skip, `demo:qemu fails when a process dies, with ${name}`, async () => {
    for (const victim of ["server/main.ts", "-incoming"]) {
      const { code, output } = await runDemo(binary, ENDLESS, async (demo, directory) => {
        await processOf(demo, directory, "server/main.ts");
        Deno.kill(await processOf(demo, directory, victim), "SIGKILL");
      });
      assertEquals(code, 1, output);
      assertMatch(output, /^postcopy: The source ended with (SIGKILL|exit code [14])/m);
    }
  });
}

Deno.test("demo:qemu says what to do when there is no QEMU", async () => {
  const { code, output } = await runDemo({ command: ["/no/such/qemu"], root: "/" }, []);
  assertEquals(code, 1);
  assertStringIncludes(output, "QEMU is missing: /no/such/qemu; install");
});

Deno.test("demo:qemu refuses what it does not understand", async () => {
  const { code, output } = await runDemo({ command: ["/no/such/qemu"], root: "/" }, [
    ...["--memory", "12"],
  ]);
  assertEquals(code, 2);
  assertStringIncludes(output, "power of two of MiB, from 1 to 1024: 12");
});
