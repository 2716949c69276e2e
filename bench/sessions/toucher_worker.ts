/** Worker entry: touches missing pages of the sessions of its process, and times each touch. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { patternWord, TestPattern, type TestPatternSettings } from "../../workload/test_pattern.ts";
import { PAGE_BYTES, pageAt, sessionAt, type Share, type Walk, Walker } from "./walk.ts";

/** What a toucher is made from. */
export interface ToucherInit {
  /** Which sessions these are. */
  readonly share: Share;
  /** Where the memory of each lies. */
  readonly addresses: readonly number[];
  /** Bytes of each. */
  readonly size: number;
  /** What the memory holds. */
  readonly pattern: TestPatternSettings;
  /** Two words that say where it is: session and page. */
  readonly place: SharedArrayBuffer;
}

/** What it is told: first what it is made from, then walks. */
export type ToucherOrder =
  | { readonly kind: "init"; readonly init: ToucherInit }
  | { readonly kind: "walk"; readonly walk: Walk };

/** What it says after a walk. */
export interface Touched {
  readonly kind: "touched";
  /** How long each touch waited, nanoseconds. */
  readonly samples: Float64Array;
  /** When the last was done, monotonic nanoseconds. */
  readonly ended: number;
}

/** What it says when it found what should not be there. */
export interface WrongContent {
  readonly kind: "wrong";
  readonly message: string;
}

/** Bytes of a word of the pattern. */
const WORD = 4;

class Toucher {
  readonly #share: Share;
  readonly #memories: readonly Int32Array[];
  readonly #pages: number;
  readonly #pattern: TestPattern;
  readonly #place: Int32Array;
  readonly #walker = new Walker();

  constructor({ share, addresses, size, pattern, place }: ToucherInit) {
    this.#share = share;
    this.#memories = addresses.map((address) => new Int32Array(viewMemory(address, size).buffer));
    this.#pages = size / PAGE_BYTES;
    this.#pattern = new TestPattern(pattern);
    this.#place = new Int32Array(place);
  }

  walk(walk: Walk): Touched {
    const samples = this.#walker.follow(
      walk,
      (touch) => sessionAt(touch, this.#share) >= 0,
      (touch) => this.#touch(touch),
    );
    return { kind: "touched", samples, ended: monotonicNanoseconds() };
  }

  #touch(touch: number): number {
    const session = sessionAt(touch, this.#share);
    const page = pageAt(touch, this.#share.sessions, this.#pages);
    const memory = this.#memories[session]!;
    const expected = patternWord(this.#pattern.base(page), 0);
    this.#place[0] = session;
    this.#place[1] = page;
    const before = monotonicNanoseconds();
    const found = memory[page * (PAGE_BYTES / WORD)];
    const waited = monotonicNanoseconds() - before;
    if (found !== expected) {
      throw new Error(`Wrong content in page ${page} of session ${session}: ${found}`);
    }
    return waited;
  }
}

const scope = self as unknown as {
  onmessage: (event: MessageEvent<ToucherOrder>) => void;
  postMessage(report: Touched | WrongContent): void;
};
let toucher: Toucher | undefined;

function walk(walk: Walk): Touched | WrongContent {
  try {
    return toucher!.walk(walk);
  } catch (error) {
    return { kind: "wrong", message: (error as Error).message };
  }
}

scope.onmessage = ({ data }) => {
  if (data.kind === "init") toucher = new Toucher(data.init);
  else scope.postMessage(walk(data.walk));
};
