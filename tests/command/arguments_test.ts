import { assertEquals, assertThrows } from "@std/assert";
import { parseCommand, UsageError } from "../../migration/command/arguments.ts";

const OPTIONS = {
  to: { value: "ADDRESS", help: "where to" },
  "compress-level": { value: "LEVEL", help: "how hard" },
  json: { help: "for programs" },
} as const;

Deno.test("parseCommand returns options and other arguments in any order", () => {
  const { values, positionals } = parseCommand(
    ["--json", "a", "--to", "tcp:h:1", "--compress-level=-7", "b", "--", "--to"],
    OPTIONS,
  );
  const to: string | undefined = values.to;
  const json: boolean | undefined = values.json;
  assertEquals([to, json, values["compress-level"]], ["tcp:h:1", true, "-7"]);
  assertEquals(positionals, ["a", "b", "--to"]);
});

Deno.test("parseCommand takes the last of an option that is given twice", () => {
  assertEquals(parseCommand(["--to", "a", "--to=b"], OPTIONS).values, { to: "b" });
});

const WRONG: readonly (readonly [readonly string[], string])[] = [
  [["--too", "x"], "Unknown option: --too: did you mean --to?"],
  [["--compres-level", "1"], "Unknown option: --compres-level: did you mean --compress-level?"],
  [["--frobnicate"], "Unknown option: --frobnicate"],
  [["-x"], "Unknown option: -x"],
  [["--toString"], "Unknown option: --toString"],
  [["--to"], "No value after --to: write --to ADDRESS"],
  [
    ["--to", "--json"],
    "No value after --to: --json: write --to ADDRESS, or --to=--json if that is meant",
  ],
  [
    ["--compress-level", "-7"],
    "No value after --compress-level: -7: write --compress-level LEVEL, or --compress-level=-7 if " +
    "that is meant",
  ],
  [["--json=yes"], "Option takes no value: --json=yes: write --json alone"],
];

for (const [args, message] of WRONG) {
  Deno.test(`parseCommand refuses ${args.join(" ")}`, () => {
    const error = assertThrows(() => parseCommand(args, OPTIONS), UsageError);
    assertEquals(error.message, message);
  });
}
