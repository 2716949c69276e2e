/** A directory for a benchmark's images. */

import { atExit } from "./at_exit.ts";

/** A temporary directory that is removed with all that is in it, however the benchmark ends. */
export class TemporaryDirectory implements Disposable {
  /** Its path. */
  readonly path: string;
  readonly #forget = atExit(() => this.close());
  #open = true;

  /** @param parent the directory it is made in; default the system's for temporary files */
  constructor(parent?: string) {
    const options = parent === undefined ? {} : { dir: parent };
    this.path = Deno.makeTempDirSync({ prefix: "postcopy-bench-", ...options });
  }

  /** Removes it. Closing again does nothing. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#forget();
    Deno.removeSync(this.path, { recursive: true });
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
