// deno-lint-ignore-file no-console -- a command

/**
 * Runs one of Deno's commands after the set-up, with the environment in which @std is found:
 * `tools/run.ts test|quick|peers|check|lint|script ARGUMENTS...`. `deno task` calls it.
 *
 * @module
 */

import { exists } from "./debian.ts";
import { OutputTurns } from "./output_turns.ts";
import { PeerQemu, peerTests } from "./peers.ts";
import { setUp } from "./setup.ts";
import { runTests } from "./test_run.ts";
import { startsQemu, testFiles } from "./test_files.ts";
import { allParts, inLanes, partsOf } from "./test_parts.ts";
import { closingLine, sum } from "./test_summary.ts";
import { provideTrixie, TreeError } from "./trixie.ts";

const root = new URL("../", import.meta.url);

interface Command {
  /** What precedes the caller's arguments. */
  readonly args: readonly string[];
  /** Whether it starts QEMU and the like. */
  readonly interop: boolean;
}

/**
 * Processes of tests at once: one more than the machine has processors, as tests now and then wait for
 * a timeout, which is the case they test.
 */
const LANES = navigator.hardwareConcurrency + 1;

/**
 * Tests for in between, in two processes of about the same length: of the formats, the memory, the
 * machine and receiving, each by itself. Both cores of two are busy for half a minute.
 */
const QUICK = [
  [
    ...["tests/compression", "tests/dirty", "tests/ffi", "tests/machine", "tests/memory"],
    ...["tests/receive", "tests/report", "tests/tools"],
  ],
  ["tests/channel", "tests/device", "tests/image", "tests/protocol", "tests/sending"],
];
/** Of those directories, what takes ten seconds by itself. */
const NOT_QUICK = ["tests/compression/memory_test.ts"];

/** What deno.json excludes, which `--ignore` takes the place of. */
const EXCLUDED = [".cache", ".deno", ".jsr", "node_modules"];

// Types are checked by `check` alone: the tests would check them again for every worker they start.
// The examples in the documentation cannot open the C library outside of a test, see the module.
const TEST = ["test", "-A", "--doc", "--no-check", "--preload", "tests/support/native.ts"];

const commands: Record<string, Command> = {
  test: { args: TEST, interop: true },
  quick: { args: TEST, interop: false },
  peers: { args: TEST.filter((arg) => arg !== "--doc"), interop: true },
  check: { args: ["check", "--doc"], interop: false },
  lint: { args: ["lint"], interop: false },
  script: { args: ["run", "-A"], interop: true },
};

const [name = "", ...given] = Deno.args;
/** Of `peers`: succeed with a message where this user cannot run them, as a part of `deno task ok`. */
const WHERE_ROOT = "--where-root";
const rest = given.filter((arg) => arg !== WHERE_ROOT);
const command = commands[name];
if (command === undefined) {
  console.error(`Unknown command, use one of ${Object.keys(commands).join(", ")}: ${name}`);
  Deno.exit(2);
}
Deno.exit(await (name === "peers" ? peers(command) : run(name, command)));

/** Runs a command after the set-up. */
async function run(name: string, { args, interop }: Command): Promise<number> {
  const { jsr, problems } = await setUp({ interop });
  for (const problem of problems) console.error(problem);
  const options = { cwd: root, args: [...args, ...rest], env: jsr.environment };
  if (args[0] === "test") return await test(name, options);
  const { code } = await new Deno.Command(Deno.execPath(), options).spawn().status;
  return code;
}

/**
 * Runs the tests that start a QEMU, or read what it wrote, against that of `QEMU_SYSTEM`, else against
 * the newer one in a tree of Debian trixie; and those that start what else is in that tree.
 */
async function peers(command: Command): Promise<number> {
  if (given.includes(WHERE_ROOT) && Deno.uid() !== 0) {
    console.error("Not run, for it needs root: test:peers");
    return 0;
  }
  const named = Deno.env.get("QEMU_SYSTEM") ?? "";
  try {
    using qemu = named === "" ? new PeerQemu(await provideTrixie()) : undefined;
    Deno.env.set("QEMU_SYSTEM", qemu?.command ?? named);
    return await run("peers", command);
  } catch (error) {
    if (!(error instanceof TreeError)) throw error;
    console.error(error.message);
    return 1;
  }
}

/**
 * Runs the tests, in parts where they are many, showing their output, then what was skipped and the
 * closing line.
 */
async function test(
  name: string,
  options: Deno.CommandOptions & { readonly args: string[] },
): Promise<number> {
  const env: Record<string, string> = { ...options.env };
  if (Deno.stdout.isTerminal() && !Deno.noColor) env["FORCE_COLOR"] = "1";
  const turns = new OutputTurns(write);
  const runs = await inLanes(await argumentsOf(name, options.args), LANES, async (args) => {
    const output = turns.begin();
    try {
      return await runTests({ ...options, env, args }, output.print);
    } finally {
      await output.end();
    }
  });
  for (const { skips } of runs) for (const line of skips) console.log(line);
  console.log(closingLine(sum(runs.map(({ counts }) => counts))));
  return runs.find(({ code }) => code !== 0)?.code ?? 0;
}

/** The arguments of each process of a run. */
async function argumentsOf(name: string, args: readonly string[]): Promise<string[][]> {
  const parts = async (): Promise<string[][]> => {
    if (name === "quick") return await Promise.all(QUICK.map(quickFiles));
    if (name === "peers" && !namesFiles()) return partsOf(await peerTests());
    return name === "test" && rest.length === 0 ? allParts(EXCLUDED) : [[]];
  };
  return (await parts()).map((part) => [...args, ...part]);
}

/** Whether the caller's arguments name files of tests. */
function namesFiles(): boolean {
  return rest.some((arg) => exists(new URL(arg, root)));
}

/** Files by name: with several directories Deno does not heed `--ignore` of one in them. */
async function quickFiles(directories: readonly string[]): Promise<string[]> {
  const quick = (path: string, text: string): boolean =>
    !NOT_QUICK.includes(path) && !startsQemu(text);
  return (await Promise.all(directories.map((each) => testFiles(each, quick)))).flat();
}

async function write(chunk: Uint8Array): Promise<void> {
  for (let at = 0; at < chunk.length;) at += await Deno.stdout.write(chunk.subarray(at));
}
