/** What several processes print at once, so that no line of one is cut by another's. */

/** What one process prints. */
export interface Output {
  /** Takes the next piece; settles once it is written, or kept for later. */
  print(chunk: Uint8Array): Promise<void>;
  /** Nothing more comes; settles once all is written whose turn it was. */
  end(): Promise<void>;
}

interface Kept {
  readonly chunks: Uint8Array[];
  over: boolean;
}

/**
 * Shows one output as it comes and keeps the others. When that one has ended, the others that have
 * ended are shown whole, and one that goes on is shown from its beginning.
 */
export class OutputTurns {
  readonly #write: (chunk: Uint8Array) => Promise<void>;
  /** Those that are not shown, in the order in which they began. */
  readonly #waiting = new Set<Kept>();
  #shown: Kept | undefined;
  #written = Promise.resolve();

  /** @param write takes what is shown, a piece after the other */
  constructor(write: (chunk: Uint8Array) => Promise<void>) {
    this.#write = write;
  }

  /** Begins an output. */
  begin(): Output {
    const output: Kept = { chunks: [], over: false };
    if (this.#shown === undefined) this.#shown = output;
    else this.#waiting.add(output);
    return {
      print: (chunk) => {
        if (this.#shown === output) return this.#show([chunk]);
        output.chunks.push(chunk);
        return Promise.resolve();
      },
      end: () => {
        output.over = true;
        if (this.#shown === output) this.#next();
        return this.#written;
      },
    };
  }

  #next(): void {
    for (const output of this.#waiting) if (output.over) this.#take(output);
    const [running] = this.#waiting;
    this.#shown = running;
    if (running !== undefined) this.#take(running);
  }

  #take(output: Kept): void {
    this.#waiting.delete(output);
    this.#show(output.chunks.splice(0));
  }

  #show(chunks: readonly Uint8Array[]): Promise<void> {
    for (const chunk of chunks) this.#written = this.#written.then(() => this.#write(chunk));
    return this.#written;
  }
}
