/** The tests that run against another QEMU than the installed one: `deno task test:peers`. */

import { commandPath } from "./find_command.ts";

const root = new URL("../", import.meta.url);

/** What a test file says that starts the QEMU of `QEMU_SYSTEM`, or reads what it wrote. */
const ABOUT_QEMU = /\b(testedQemus|whyNoQemu|readRecording)\(/;
/** Bytes of a unix socket's path, which ends with a zero byte (unix(7)). */
const MOST_PATH_BYTES = 107;
/** A path below a tree as long as those that the harness makes there. */
const SOCKET = "/tmp/postcopy-qemu-0123456789abcdef/serial";

/** Lists those test files, relative to the checkout. */
export async function peerTests(directory = "tests"): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(new URL(directory, root))) {
    const path = `${directory}/${name}`;
    if (isDirectory) found.push(...await peerTests(path));
    if (!name.endsWith("_test.ts")) continue;
    if (ABOUT_QEMU.test(await Deno.readTextFile(new URL(path, root)))) found.push(path);
  }
  return found.sort();
}

/** A tree with a QEMU, under a name that is short enough for the sockets in it. */
export class PeerQemu implements Disposable {
  /** For `QEMU_SYSTEM`. */
  readonly command: string;
  readonly #directory: string | undefined;

  /** @param tree Path of the tree. */
  constructor(tree: string) {
    let path = tree;
    if (new TextEncoder().encode(tree + SOCKET).length > MOST_PATH_BYTES || /\s/.test(tree)) {
      this.#directory = Deno.makeTempDirSync({ prefix: "postcopy-peers-" });
      path = `${this.#directory}/trixie`;
      Deno.symlinkSync(tree, path);
    }
    this.command = `${commandPath("chroot")} ${path} qemu-system-x86_64`;
  }

  /** Removes the short name. */
  [Symbol.dispose](): void {
    if (this.#directory !== undefined) Deno.removeSync(this.#directory, { recursive: true });
  }
}
