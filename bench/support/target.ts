/** What a benchmark's figures are held against. */

import { significant } from "./markdown.ts";

/** A target, and whether it was met. */
export interface Target<Value extends number | string = number> {
  readonly what: string;
  readonly value: Value;
  /** Undefined for what is not judged: said for comparison, or too little was measured to tell. */
  readonly met: boolean | undefined;
  /** What the value rests on. */
  readonly because?: string;
}

/** Writes a target as a line of a list. */
export function formatTarget({ what, value, met, because }: Target<number | string>): string {
  const verdict = met === undefined ? "not judged" : met ? "met" : "MISSED";
  const text = typeof value === "number" ? significant(value) : value;
  return `- ${verdict}: ${what}: ${text}${because === undefined ? "" : ` (${because})`}`;
}
