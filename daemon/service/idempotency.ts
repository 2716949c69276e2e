/** Requests that are repeated because nobody heard their answer, and that must not be carried out twice. */

import { ServiceError } from "./service_error.ts";

/** Milliseconds for which a key is remembered: a day. */
export const REMEMBERED = 86_400_000;
/** Most keys that are remembered: of more the oldest are forgotten. */
const MOST_KEYS = 10_000;

interface Remembered<T> {
  readonly request: string;
  readonly outcome: Promise<T>;
  readonly at: number;
}

/** What became of a request. */
export interface Carried<T> {
  readonly outcome: T;
  /** Whether it was carried out before. */
  readonly replayed: boolean;
}

/** Carries out each request that has a key once. */
export class Idempotency<T> {
  readonly #remembered = new Map<string, Remembered<T>>();

  /**
   * Carries out a request, or waits for the one with the same key and says what became of it. One that failed is
   * not remembered: it may be tried again.
   *
   * @param key that the client chose; undefined: none
   * @param request all of it, by which two are told apart
   * @param carryOut does it
   * @throws {ServiceError} `KEY_REUSED` for a key of another request
   */
  async once(
    key: string | undefined,
    request: unknown,
    carryOut: () => Promise<T>,
  ): Promise<Carried<T>> {
    if (key === undefined) return { outcome: await carryOut(), replayed: false };
    const now = Date.now();
    const text = canonical(request);
    const before = this.#remembered.get(key);
    if (before !== undefined && now - before.at < REMEMBERED) {
      if (before.request === text) return { outcome: await before.outcome, replayed: true };
      throw new ServiceError(
        "KEY_REUSED",
        `Idempotency-Key of another request: ${key}: give each request a key of its own`,
      );
    }
    const outcome = carryOut();
    this.remember(key, text, outcome, now);
    try {
      return { outcome: await outcome, replayed: false };
    } catch (error) {
      if (this.#remembered.get(key)?.outcome === outcome) this.#remembered.delete(key);
      throw error;
    }
  }

  /** Remembers what became of a request, for example of a daemon before this one. */
  remember(key: string, request: unknown, outcome: Promise<T>, now: number = Date.now()): void {
    const text = typeof request === "string" ? request : canonical(request);
    this.#remembered.delete(key); // so that it is the newest
    this.#remembered.set(key, { request: text, outcome, at: now });
    for (const [oldest, { at }] of this.#remembered) {
      if (this.#remembered.size <= MOST_KEYS && now - at < REMEMBERED) break;
      this.#remembered.delete(oldest);
    }
  }
}

/** The same text for two requests that differ only in the order of their keys. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, each) => {
    if (typeof each !== "object" || each === null || Array.isArray(each)) return each;
    return Object.fromEntries(Object.entries(each).sort(([one], [other]) => one < other ? -1 : 1));
  });
}
