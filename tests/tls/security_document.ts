/** Credentials made by the very lines of docs/security.md. */

import { needsCommand, type SkipReason } from "../support/skip.ts";

const DOCUMENT = new URL("../../docs/security.md", import.meta.url);

/** Tools that the document makes certificates with, and what Debian calls them. */
export const MAKERS = { openssl: "openssl", certtool: "gnutls-bin" } as const;
/** One of them. */
export type Maker = keyof typeof MAKERS;

/** What the pre-shared keys are made with, in the document's order, and Debian's package. */
export const KEY_MAKERS = [
  ["psktool", "gnutls-bin"],
  ["openssl", "openssl"],
  ["od", "coreutils"],
] as const;

/** The need for a tool. */
export function needsMaker(maker: Maker): SkipReason | undefined {
  return needsCommand(maker, MAKERS[maker]);
}

/** What the document tells to type under a heading, block by block. */
export async function shellBlocks(heading: string): Promise<string[]> {
  const text = await Deno.readTextFile(DOCUMENT);
  const lines = text.split("\n");
  const start = lines.findIndex((line) => /^#+ /.test(line) && line.endsWith(` ${heading}`));
  if (start < 0) throw new Error(`No heading in docs/security.md: ${heading}`);
  const length = lines.slice(start + 1).findIndex((line) => /^##+ /.test(line));
  const section = lines.slice(start + 1, length < 0 ? undefined : start + 1 + length).join("\n");
  return [...section.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block]) => block!);
}

/** A directory in which lines of the document are run. */
export class DocumentedCredentials implements AsyncDisposable {
  /** Where they are run. */
  readonly directory = Deno.makeTempDirSync();

  /** Runs the lines that make certificates: `source/` and `destination/` are there then. */
  static async certificates(maker: Maker): Promise<DocumentedCredentials> {
    const made = new DocumentedCredentials();
    const [block] = await shellBlocks(`With ${maker}`);
    await made.type(block!);
    return made;
  }

  /** A path in it. */
  path(name: string): string {
    return `${this.directory}/${name}`;
  }

  /** Runs a block as its reader would, with a umask that hides nothing. */
  async type(block: string): Promise<void> {
    const { success, stderr } = await new Deno.Command("sh", {
      args: ["-e", "-c", `umask 022\n${block}`],
      cwd: this.directory,
      stdin: "null",
      stdout: "null",
    }).output();
    if (!success) throw new Error(`${block}: ${new TextDecoder().decode(stderr)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.directory, { recursive: true });
  }
}
