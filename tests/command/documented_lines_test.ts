/** What the documents tell to type is what the commands take. */
import { assertEquals, assertGreater } from "@std/assert";
import { commandLine } from "../../main.ts";
import { blocksOf, readDocument, shellLines } from "../support/documents.ts";
import { load } from "./command_lines.ts";

const DOCUMENTS = [
  "README.md",
  "docs/daemon.md",
  "docs/lazy.md",
  "docs/operations.md",
  "docs/security.md",
];

/** The lines of a document's shell blocks that call a command of this project, in words. */
async function documentedLines(name: string): Promise<string[][]> {
  return blocksOf(await readDocument(name), "sh").flatMap(shellLines)
    .map((line) => line.replace(/ +#.*/, "").trim().split(/ +/))
    .filter(([program]) => program === "postcopy");
}

for (const name of DOCUMENTS) {
  Deno.test(`${name} names commands and options that there are`, async () => {
    const lines = await documentedLines(name);
    assertGreater(lines.length, 3);
    for (const [, command, ...words] of lines) {
      assertEquals(command! in commandLine.commands, true, command);
      const commands = await load(commandLine.commands, command!);
      const known = commands.map(({ options }) => Object.keys(options).map((name) => `--${name}`));
      const used = words.filter((word) => word.startsWith("--")).map((word) => word.split("=")[0]!);
      // One of the commands of that name has them all.
      const unknown = known.map((names) => used.filter((option) => !names.includes(option)));
      assertEquals(unknown.some((none) => none.length === 0), true, `${words}: ${unknown}`);
    }
  });
}

Deno.test("docs/security.md has each command that connects or listens with TLS", async () => {
  const lines = await documentedLines("docs/security.md");
  const encrypted = lines.filter((words) => words.includes("--tls-creds")).map((words) => words[1]);
  assertEquals([...new Set(encrypted)].toSorted(), ["receive", "serve", "workload"]);
});
