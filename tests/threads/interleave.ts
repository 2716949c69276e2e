/** What one thread does at any moment of what another does, tried on one thread at every moment. */

/** Thrown out of code that sleeps where nothing will wake it. */
export class SleepsForever extends Error {}

/** Two threads' doings, and what must hold when both have returned. */
export interface Scene<A, B> {
  first(): A;
  second(): B;
  check(first: A, second: B): void;
}

type Access = (words: Int32Array, index: number, ...values: number[]) => number;

/**
 * Plays a scene again and again, each time with the whole of `second` at another moment of `first`:
 * before its first atomic access, before its second, and so on, and after its last. Each sleeps
 * until the other notifies it; a `second` that sleeps is called again at the end of `first`.
 *
 * @param make makes the scene anew
 * @param from the first moment to try, 0 before the first access
 * @returns how many moments there were
 * @throws {SleepsForever} when one of them is not woken
 */
export function interleave<A, B>(make: () => Scene<A, B>, from = 0): number {
  const { load, store, add, exchange, compareExchange, notify, wait } = Atomics;
  const real = { load, store, add, exchange, compareExchange, notify, wait };
  for (let moment = from;; moment++) {
    const scene = make();
    const woken = new Set<number>();
    let accesses = 0;
    let entered = false; // second has begun
    let inside = false; // and runs now
    let sleepsOn = -1; // or sleeps on this word
    let answer: B;
    const enter = (): void => {
      entered = inside = true;
      try {
        answer = scene.second();
      } catch (error) {
        if (sleepsOn < 0) throw error;
      }
      inside = false;
    };
    const at = (access: Access): Access => (words, index, ...values) => {
      if (!entered && accesses++ === moment) enter();
      return access(words, index, ...values);
    };
    const unwoken = (word: number) =>
      new SleepsForever(`Moment ${moment}: nothing wakes who sleeps on word ${word}`);
    Object.assign(Atomics, {
      load: at(load as Access),
      store: at(store as Access),
      add: at(add as Access),
      exchange: at(exchange as Access),
      compareExchange: at(compareExchange as Access),
      notify: (_: Int32Array, index: number) => Number(woken.add(index).has(index)),
      wait: (words: Int32Array, index: number, value: number) => {
        if (!entered && accesses++ === moment) enter();
        if (load(words, index) !== value) return "not-equal";
        woken.clear();
        if (inside) {
          sleepsOn = index;
          throw unwoken(index);
        }
        if (!entered) enter(); // so late that it finds the other asleep
        if (!woken.has(index)) throw unwoken(index);
        return "ok";
      },
    });
    try {
      const result = scene.first();
      const last = accesses <= moment;
      if (!entered) enter();
      else if (sleepsOn >= 0) {
        if (!woken.has(sleepsOn)) throw unwoken(sleepsOn);
        enter();
      }
      scene.check(result, answer!);
      if (last) return moment + 1;
    } finally {
      Object.assign(Atomics, real);
    }
  }
}
