/** What documents tell to type, and to write into files. */

/** The text of a document of the project, such as `docs/daemon.md`. */
export async function readDocument(name: string): Promise<string> {
  return await Deno.readTextFile(new URL(`../../${name}`, import.meta.url));
}

/** The part of a text between a heading and the next one of the same level. */
export function sectionOf(text: string, heading: string): string {
  const [, rest] = text.split(`\n${heading}\n`);
  if (rest === undefined) throw new Error(`No such heading: ${heading}`);
  const level = heading.replace(/ .*/, "");
  return rest.split(`\n${level} `)[0]!;
}

/** The blocks of a text in a language. */
export function blocksOf(text: string, language: string): string[] {
  const blocks = text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm"));
  return [...blocks].map(([, block]) => block!);
}

/** The lines of a shell's block, those joined that go on. */
export function shellLines(block: string): string[] {
  return block.replaceAll("\\\n", " ").split("\n").filter((line) => line !== "");
}
