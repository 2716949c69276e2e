/** A thread of a guest: touches pages at random, compares each with what it must be, and may change it. */

import { viewMemory } from "../../ffi/memory.ts";
import { Random } from "../support/random.ts";
import { type TouchJob, TouchWord } from "./touching.ts";

const WORDS = 1024;

function touch({ seed, thread, threads, blocks, expected, record, writes }: TouchJob): void {
  const random = new Random(seed + thread);
  const should = new Int32Array(expected);
  const words = new Int32Array(record);
  const views = blocks.map(({ address, length }) =>
    new Int32Array(viewMemory(address, length).buffer)
  );
  const pages: { view: Int32Array; at: number; page: number }[] = [];
  let first = 0;
  for (const view of views) {
    for (let at = 0; at < view.length; at += WORDS) {
      const page = first + at / WORDS;
      if (page % threads === thread) pages.push({ view, at, page });
    }
    first += view.length / WORDS;
  }
  while (pages.length > 0) {
    const index = random.below(pages.length);
    const { view, at, page } = pages[index]!;
    pages[index] = pages.at(-1)!;
    pages.pop();
    if (Atomics.load(words, TouchWord.END) === 1) return;
    for (let word = 0; word < WORDS; word++) {
      if (view[at + word] === should[page * WORDS + word]) continue;
      Atomics.compareExchange(words, TouchWord.WRONG, 0, page + 1);
      return;
    }
    if (writes && random.oneIn(3)) {
      const word = random.below(WORDS);
      should[page * WORDS + word] = view[at + word] = random.u32();
    }
    Atomics.add(words, TouchWord.TOUCHED, 1);
    if (random.oneIn(4)) Atomics.wait(words, TouchWord.END, 0, 1);
  }
}

const scope = self as unknown as {
  onmessage: (event: MessageEvent<TouchJob>) => void;
  postMessage(message: string): void;
};
scope.onmessage = ({ data }) => {
  touch(data);
  scope.postMessage("done");
};
scope.postMessage("ready");
