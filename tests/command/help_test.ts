import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { commandHelp, overallHelp } from "../../migration/command/help.ts";
import { ENTRY_POINTS, load, run } from "./command_lines.ts";

/** What a user types before a command's name, the longest. */
const PROGRAM = "deno run -A server/main.ts";

const longLines = (text: string): string[] => text.split("\n").filter((line) => line.length > 80);

for (const [entryPoint, commands] of Object.entries(ENTRY_POINTS)) {
  Deno.test(`overallHelp of ${entryPoint} lists each command in one line of at most 80 columns`, () => {
    const text = overallHelp({ program: PROGRAM, about: "moves machines", commands });
    assertEquals(longLines(text), []);
    for (const [name, { summary }] of Object.entries(commands)) {
      assert(text.split("\n").some((line) => line.trim() === `${name.padEnd(18)}${summary}`), name);
    }
  });

  for (const name of Object.keys(commands)) {
    Deno.test(`commandHelp of ${name} in ${entryPoint} lists the options that it knows and fits 80 columns`, async () => {
      for (const command of await load(commands, name)) {
        const text = commandHelp(PROGRAM, name, command);
        assertEquals(longLines(text), []);
        assertStringIncludes(text, `Usage: ${PROGRAM} ${name} `);
        const listed = text.matchAll(/^ {2}(--\S+(?: \S+)?)(?: {2}|$)/gm).map(([, head]) => head!);
        const known = Object.entries(command.options)
          .map(([option, { value }]) => `--${option}${value === undefined ? "" : ` ${value}`}`);
        assertEquals([...listed], known); // its own and no other's
        assert(known.length > 0);
      }
    });
  }
}

Deno.test("a help text is the same by help COMMAND, COMMAND --help and COMMAND -h", async () => {
  const texts = await Promise.all([
    run("main.ts", "help", "serve"),
    run("main.ts", "serve", "--help"),
    run("main.ts", "serve", "vm.img", "-h"),
  ]);
  assertStringIncludes(texts[0]!.output, "Usage: postcopy serve IMAGE --to ADDRESS");
  for (const text of texts) assertEquals(text, texts[0]!);
  assertEquals([texts[0]!.code, texts[0]!.errors], [0, ""]);
});

Deno.test("help workload tells both commands of that name, and with --listen the one it chooses", async () => {
  const [both, one] = await Promise.all([
    run("main.ts", "help", "workload"),
    run("main.ts", "workload", "--listen", "tcp::0", "--help"),
  ]);
  assertStringIncludes(both.output, "Usage: postcopy workload --to ADDRESS");
  assertStringIncludes(both.output, "Usage: postcopy workload --listen ADDRESS");
  assert(both.output.endsWith(one.output));
  assert(!one.output.includes("--to ADDRESS"));
});

Deno.test("a command line without a command prints the help as an error", async () => {
  const { code, output, errors } = await run("client/main.ts");
  assertEquals([code, output], [2, ""]);
  assertStringIncludes(errors, "Usage: deno run -A client/main.ts COMMAND");
});
