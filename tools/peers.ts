/**
 * The tests that run against another QEMU than the installed one, a CRIU, and a systemd:
 * `deno task test:peers`.
 */

import { commandPath } from "./find_command.ts";
import { readsRecordings, startsCriu, startsQemu, startsSystemd, testFiles } from "./test_files.ts";

/** Bytes of a unix socket's path, which ends with a zero byte (unix(7)). */
const MOST_PATH_BYTES = 107;
/** A path below a tree as long as those that the harness makes there. */
const SOCKET = "/tmp/postcopy-qemu-0123456789abcdef/serial";

/** What such a test says. */
const MARKS = [startsQemu, readsRecordings, startsCriu, startsSystemd];

/**
 * Lists the tests that start a QEMU, a CRIU or a systemd, or read what QEMU wrote, relative to the
 * checkout.
 */
export function peerTests(): Promise<string[]> {
  return testFiles("tests", (_path, text) => MARKS.some((mark) => mark(text)));
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
