/** Faults, and the moments at which they strike. */

import type { Mode } from "../../server/sending/mode.ts";
import type { Random } from "../support/random.ts";
import type { Way } from "../support/fault_relay.ts";

/** What the source is: an image's, a running guest's, or a script that speaks as QEMU's source does. */
export type SourceKind = "image" | "live" | "script";
/** What the destination is: one whose guest runs, or one that writes an image. */
export type DestinationKind = "guest" | "file";
/** Channels of a migration. */
export type Channel = "main" | "preempt" | "all";

/** When something strikes, if that is before the end. */
export type Moment =
  /** So many bytes of a channel of the connection that there is were passed on. */
  | { readonly kind: "bytes"; readonly channel: "main" | "preempt"; readonly bytes: number }
  /** An end has a status. */
  | { readonly kind: "status"; readonly end: "source" | "destination"; readonly status: string }
  /** So many pages are in place. */
  | { readonly kind: "pages"; readonly pages: number };

/** What happens. */
export type Act =
  | { readonly kind: "cut"; readonly channel: Channel }
  /** Connections that come break: each after so many bytes one way. */
  | { readonly kind: "cut-next"; readonly bytes: readonly number[]; readonly back: boolean }
  /** Nothing is passed on any more; what was held comes when the ends are connected anew, or never. */
  | {
    readonly kind: "freeze";
    readonly channel: Channel;
    readonly way: Way;
    readonly thaw: "never" | "soon" | "late";
  }
  /** The source ends without a word, and another goes on. */
  | { readonly kind: "restart" }
  | { readonly kind: "file"; readonly how: "overwrite" | "truncate" | "replace" }
  /** The file that is written must not grow for a while. */
  | { readonly kind: "full"; readonly bytes: number }
  | { readonly kind: "kill-thread"; readonly thread: ThreadName }
  | { readonly kind: "pause"; readonly end: "source" | "destination" }
  /** The destination listens elsewhere too, and that alone can be reached from then on. */
  | { readonly kind: "move" };

/** A fault of a run. */
export interface Fault {
  readonly moment: Moment;
  readonly act: Act;
}

/** Threads of the pool. */
export type ThreadName =
  | "requests"
  | "background"
  | "precopy"
  | "fault"
  | "main-channel"
  | "compress"
  | "decompress";

interface What {
  readonly source: SourceKind;
  readonly destination: DestinationKind;
  readonly mode: Mode;
  readonly pages: number;
  /** Whether connections begin with a handshake. */
  readonly handshakes: boolean;
}

const STATUSES = {
  source: ["active", "device", "postcopy-active", "postcopy-active", "postcopy-paused"],
  destination: ["active", "device", "postcopy-active", "postcopy-active", "postcopy-paused"],
};
const RECOVERING = "postcopy-recover";

/** Draws the faults of a run: mostly one, and often another that strikes the recovery. */
export function drawFaults(random: Random, what: What): Fault[] {
  const count = random.pick([1, 1, 1, 2, 2, 3, 5]);
  return Array.from({ length: count }, (_, index) => ({
    moment: drawMoment(random, what, index > 0),
    act: drawAct(random, what),
  }));
}

function drawMoment(random: Random, { source, mode, pages }: What, again: boolean): Moment {
  const end = source === "script" ? "destination" : random.pick(["source", "destination"] as const);
  if (again && random.oneIn(3)) return { kind: "status", end, status: RECOVERING };
  switch (random.below(4)) {
    case 0:
      return { kind: "status", end, status: random.pick(STATUSES[end]) };
    case 1:
      return { kind: "pages", pages: random.below(pages) };
    case 2:
      if (mode !== "vanilla") {
        return { kind: "bytes", channel: "preempt", bytes: random.between(1, 40_000) };
      }
  }
  // Few bytes of it are where most of the protocol is.
  const most = random.pick([2_000, 10_000, pages * 1024, pages * 4096]);
  return { kind: "bytes", channel: "main", bytes: random.between(1, most) };
}

function drawAct(random: Random, { source, destination, mode, handshakes }: What): Act {
  const channel = mode === "vanilla" ? "all" : random.pick(["main", "preempt", "all"] as const);
  // The first words of the protocol; of TLS they are behind those of both ends' handshake.
  const words = handshakes ? [300, 4000] : [3, 150];
  const acts: (() => Act)[] = [
    () => ({ kind: "cut", channel }),
    () => ({ kind: "cut", channel }),
    () => ({
      kind: "cut-next",
      bytes: Array.from(
        { length: random.between(1, 4) },
        () => random.below(random.pick(words)),
      ),
      back: random.oneIn(3),
    }),
    () => ({
      kind: "freeze",
      channel,
      way: random.pick(["onward", "back", "both"]),
      thaw: random.pick(["never", "soon", "late"]),
    }),
    () => ({
      kind: "pause",
      end: source === "script" ? "destination" : random.pick(["source", "destination"]),
    }),
    () => ({ kind: "move" }),
  ];
  if (source === "image") {
    acts.push(
      () => ({ kind: "restart" }),
      () => ({ kind: "file", how: random.pick(["overwrite", "truncate", "replace"]) }),
    );
  }
  if (destination === "file") acts.push(() => ({ kind: "full", bytes: random.below(1 << 20) }));
  const threads: ThreadName[] = ["requests", "background", "compress", "decompress"];
  if (source === "live") threads.push("precopy");
  if (destination === "guest") threads.push("fault", "main-channel");
  if (source !== "script") acts.push(() => ({ kind: "kill-thread", thread: random.pick(threads) }));
  return random.pick(acts)();
}
