// deno-lint-ignore-file no-console -- a command

/**
 * Runs one of Deno's commands after the set-up, with the environment in which @std is found:
 * `tools/run.ts test|check|lint|script ARGUMENTS...`. `deno task` calls it.
 *
 * @module
 */

import { setUp } from "./setup.ts";
import { runTests, type TestRun } from "./test_run.ts";
import { closingLine, sum } from "./test_summary.ts";

const root = new URL("../", import.meta.url);

interface Command {
  /** What precedes the caller's arguments. */
  readonly args: readonly string[];
  /** Whether it starts QEMU and the like. */
  readonly interop: boolean;
}

/**
 * Tests that run beside all others: they need one core and neither namespaces nor huge pages. One after
 * the other all tests take longer than two cores need.
 */
const BESIDE = [
  "tests/compression",
  "tests/device",
  "tests/image",
  "tests/machine",
  "tests/memory",
  "tests/protocol",
  "tests/receive",
  "tests/report",
  "tests/threads",
  "tests/tools",
  "tests/workload",
];

/** What deno.json excludes, which `--ignore` takes the place of. */
const EXCLUDED = [".cache", ".deno", ".jsr", "node_modules"];

const commands: Record<string, Command> = {
  // Types are checked by `check` alone: the tests would check them again for every worker they start.
  // The examples in the documentation cannot open the C library outside of a test, see the module.
  test: {
    args: ["test", "-A", "--doc", "--no-check", "--preload", "tests/support/native.ts"],
    interop: true,
  },
  check: { args: ["check", "--doc"], interop: false },
  lint: { args: ["lint"], interop: false },
  script: { args: ["run", "-A"], interop: true },
};

const [name = "", ...rest] = Deno.args;
const command = commands[name];
if (command === undefined) {
  console.error(`Unknown command, use one of ${Object.keys(commands).join(", ")}: ${name}`);
  Deno.exit(2);
}
const { jsr, problems } = await setUp({ interop: command.interop });
for (const problem of problems) console.error(problem);
const options = { cwd: root, args: [...command.args, ...rest], env: jsr.environment };
Deno.exit(await (name === "test" ? test() : run()));

async function run(): Promise<number> {
  const { code } = await new Deno.Command(Deno.execPath(), options).spawn().status;
  return code;
}

/** Runs the tests, showing their output, then what was skipped and the closing line. */
async function test(): Promise<number> {
  const env: Record<string, string> = { ...options.env };
  if (Deno.stdout.isTerminal() && !Deno.noColor) env["FORCE_COLOR"] = "1";
  const testing = (more: readonly string[]) => ({
    ...options,
    env,
    args: [...options.args, ...more],
  });
  const runs = rest.length > 0 ? [await runTests(testing([]), write)] : await testAll(testing);
  for (const { skips } of runs) for (const line of skips) console.log(line);
  console.log(closingLine(sum(runs.map(({ counts }) => counts))));
  return runs.find(({ code }) => code !== 0)?.code ?? 0;
}

/** Runs all tests in two processes; what the second prints comes when the first has ended. */
async function testAll(
  testing: (more: readonly string[]) => Deno.CommandOptions,
): Promise<TestRun[]> {
  const kept: Uint8Array[] = [];
  const beside = runTests(testing(BESIDE), (chunk) => {
    kept.push(chunk);
    return Promise.resolve();
  });
  const ignored = [...EXCLUDED, ...BESIDE].join(",");
  const first = await runTests(testing([`--ignore=${ignored}`]), write);
  const second = await beside;
  for (const chunk of kept) await write(chunk);
  return [first, second];
}

async function write(chunk: Uint8Array): Promise<void> {
  for (let at = 0; at < chunk.length;) at += await Deno.stdout.write(chunk.subarray(at));
}
