// deno-lint-ignore-file no-console -- a command

/**
 * Runs one of Deno's commands after the set-up, with the environment in which @std is found:
 * `tools/run.ts test|check|lint|script ARGUMENTS...`. `deno task` calls it.
 *
 * @module
 */

import { setUp } from "./setup.ts";
import { closingLine, SummaryReader } from "./test_summary.ts";

const root = new URL("../", import.meta.url);

interface Command {
  /** What precedes the caller's arguments. */
  readonly args: readonly string[];
  /** Whether it starts QEMU and the like. */
  readonly interop: boolean;
}

/** Milliseconds for Deno to exit after the last test. */
const EXIT_PATIENCE = 60_000;

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

/** Runs the tests, showing their output as it comes, then what was skipped and the closing line. */
async function test(): Promise<number> {
  const env: Record<string, string> = { ...options.env };
  if (Deno.stdout.isTerminal() && !Deno.noColor) env["FORCE_COLOR"] = "1";
  const child = new Deno.Command(Deno.execPath(), { ...options, env, stdout: "piped" }).spawn();
  const decoder = new TextDecoder();
  const summary = new SummaryReader();
  let backstop: ReturnType<typeof setTimeout> | undefined;
  let stuck = false;
  for await (const chunk of child.stdout) {
    summary.read(decoder.decode(chunk, { stream: true }));
    for (let at = 0; at < chunk.length;) at += await Deno.stdout.write(chunk.subarray(at));
    if (summary.counts === undefined || backstop !== undefined) continue;
    // Deno does not exit while a thread of a worker that has ended stands in a system call.
    backstop = setTimeout(() => {
      stuck = true;
      child.kill("SIGKILL");
    }, EXIT_PATIENCE);
  }
  const { code: exitCode } = await child.status;
  clearTimeout(backstop);
  if (stuck) console.log("The tests had ended, but Deno did not: it was killed");
  const code = stuck && summary.counts?.failed === 0 ? 0 : exitCode;
  for (const line of summary.skips) console.log(line);
  console.log(closingLine(summary.counts ?? { passed: 0, failed: 1, skipped: 0 }));
  return code;
}
