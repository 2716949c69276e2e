/** Who speaks to the destination itself while an image is served to it, where somebody can. */

import type { OutgoingOptions } from "../outgoing/outgoing_options.ts";

/** How a served machine's migration ended. */
export type ServedOutcome =
  /** The destination has everything. */
  | "completed"
  /** It failed, and the machine ran nowhere. */
  | "nowhere"
  /** It ended here, and the machine may run at the destination. */
  | "handed-over";

/** What a destination says of the end. */
export interface DestinationReport {
  /** For people. */
  readonly lines: readonly string[];
  /** For programs: beside the source's figures. */
  readonly json: Readonly<Record<string, unknown>>;
}

/** The destination's attendant. */
export interface Attendant {
  /** Has the destination listen, when it is tried to connect again. */
  readonly listenAgain: OutgoingOptions["listenAgain"] & object;
  /** Called once, before anything is sent, with what tells the user something. */
  begin(tell: (...lines: string[]) => void): void;
  /** What is told of a pause in place of what is to be typed at the destination. */
  askedLines(): readonly string[];
  /** Asks the destination how it ended there. */
  ended(outcome: ServedOutcome): Promise<DestinationReport>;
}
