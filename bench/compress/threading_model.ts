/** The two threading models that are measured beside each other, and how the reference is told what to do. */

import { COMPRESSION_METHODS, type CompressionMethod } from "../../migration/compression.ts";

/** `before`: a lock for all, a lock and one page for each thread. `after`: the product's lockless rings. */
export type ThreadingModel = "before" | "after";

/** Both, in the order of the tables. */
export const MODELS: readonly ThreadingModel[] = ["before", "after"];

/** How the reference model compresses. */
export interface ReferenceSettings {
  readonly method: CompressionMethod;
  readonly level: number;
  readonly threads: number;
}

/**
 * Returns the address of a module of the reference model with its settings: threads that are to be
 * ready when a migration begins must know them when they load.
 */
export function withSettings(module: URL, { method, level, threads }: ReferenceSettings): URL {
  const url = new URL(module);
  for (const [name, value] of Object.entries({ method, level, threads })) {
    url.searchParams.set(name, `${value}`);
  }
  return url;
}

/**
 * Reads the settings from the address of the module that runs.
 *
 * @throws {Error} when it has none
 */
export function settingsOf(address: string): ReferenceSettings {
  const words = new URL(address).searchParams;
  const method = COMPRESSION_METHODS.find((each) => each === words.get("method"));
  if (method === undefined) {
    throw new Error(`Module of the reference model has no method: ${address}`);
  }
  return { method, level: Number(words.get("level")), threads: Number(words.get("threads")) };
}
