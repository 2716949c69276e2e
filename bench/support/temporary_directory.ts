/** A directory for a benchmark's images. */

import { atExit } from "./at_exit.ts";

/** A temporary directory that is removed with all that is in it, however the benchmark ends. */
export class TemporaryDirectory implements Disposable {
  /** Its path. */
  readonly path: string = Deno.makeTempDirSync({ prefix: "postcopy-bench-" });
  readonly #forget = atExit(() => this.close());
  #open = true;

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
