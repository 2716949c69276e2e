/**
 * Child process: holds the destinations of many sessions, and touches their memory.
 *
 * Each line in is a {@linkcode DestinationsCommand}, each line out its answer, or `{"error":"..."}`. Ends
 * with its standard input.
 *
 * @module
 */

import { Destination } from "../../client/destination.ts";
import { monotonicNanoseconds } from "../../ffi/clock.ts";
import type { Backing } from "../../ffi/memory.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import type { Guest, GuestMemory } from "../../migration/guest.ts";
import type { TestPatternSettings } from "../../workload/test_pattern.ts";
import { answerTries } from "./answers.ts";
import { within } from "./deadline.ts";
import { Toucher } from "./toucher.ts";
import type { Share, Walk } from "./walk.ts";
import { sessionsOf } from "./walk.ts";

/** What such a process can be asked. */
export type DestinationsCommand =
  | {
    readonly ask: "listen";
    readonly share: Share;
    readonly host: string;
    /** How the guests' memory is backed. */
    readonly backing: Backing;
  }
  | { readonly ask: "running" }
  | { readonly ask: "touch"; readonly walk: Walk; readonly pattern: TestPatternSettings }
  | { readonly ask: "finished" }
  | { readonly ask: "counted" };

/** Answer to `listen`. */
export interface Listening {
  /** Where each destination listens. */
  readonly addresses: readonly SocketAddress[];
  /** Milliseconds that making all of them took. */
  readonly took: number;
}

/** Answer to `running` and `finished`: when the last of them was, monotonic nanoseconds. */
export interface Reached {
  readonly last: number;
}

/** Answer to `touch`. */
export interface TouchFigures {
  /** How long each touch waited, nanoseconds. */
  readonly samples: readonly number[];
  /** When the last was done, monotonic nanoseconds. */
  readonly ended: number;
}

/** Answer to `counted`: what the destinations counted themselves. */
export interface Counted {
  /** Faults by power-of-two bucket of microseconds. */
  readonly buckets: readonly number[];
  /** The longest, nanoseconds. */
  readonly longest: number;
  /** Pages in place. */
  readonly received: number;
}

/** A guest whose memory the toucher knows. */
class TouchedGuest implements Guest {
  memory: GuestMemory | undefined;
  readonly #running = Promise.withResolvers<number>();

  /** Resolves with the moment when it was started, monotonic nanoseconds. */
  get running(): Promise<number> {
    return this.#running.promise;
  }

  load(_deviceState: Uint8Array, memory: GuestMemory): void {
    this.memory = memory;
  }

  start(): void {
    this.#running.resolve(monotonicNanoseconds());
  }

  stop(): void {}
}

interface Session {
  readonly guest: TouchedGuest;
  readonly destination: Destination;
}

const sessions: Session[] = [];
let share: Share | undefined;
let toucher: Toucher | undefined;

async function listen(command: Extract<DestinationsCommand, { ask: "listen" }>) {
  const begin = performance.now();
  share = command.share;
  for (let index = 0; index < sessionsOf(share); index++) {
    const guest = new TouchedGuest();
    sessions.push({ guest, destination: new Destination({ guest, backing: command.backing }) });
  }
  const at = { transport: "tcp", host: command.host, port: 0 } as const;
  const addresses = await Promise.all(sessions.map(({ destination }) => destination.listen(at)));
  return { addresses, took: performance.now() - begin } satisfies Listening;
}

/** Waits for all of something, which a session that fails ends. */
async function all(what: string, each: (session: Session) => Promise<number>): Promise<Reached> {
  const failed = sessions.map(({ destination }) =>
    destination.finished.then(() => new Promise(() => {}))
  );
  const moments = await within(
    what,
    Promise.race([Promise.all(sessions.map(each)), ...failed]) as Promise<number[]>,
  );
  return { last: Math.max(...moments) };
}

function makeToucher(pattern: TestPatternSettings): Toucher {
  const blocks = sessions.map(({ guest }) => guest.memory!.blocks[0]!);
  const addresses = blocks.map(({ address }) => address);
  return new Toucher({ share: share!, addresses, size: blocks[0]!.length, pattern });
}

async function touch(walk: Walk, pattern: TestPatternSettings): Promise<TouchFigures> {
  toucher ??= makeToucher(pattern);
  const { samples, ended } = await toucher.follow(walk);
  return { samples: [...samples], ended };
}

function counted(): Counted {
  const all = sessions.map(({ destination }) => destination.statistics());
  const buckets: number[] = [];
  for (const figures of all) {
    figures["postcopy-latency-dist"].forEach((count, bucket) =>
      buckets[bucket] = (buckets[bucket] ?? 0) + count
    );
  }
  return {
    buckets,
    longest: Math.max(...all.map((figures) => figures["postcopy-latency-max"])),
    received: all.reduce((sum, { received }) => sum + received, 0),
  };
}

await answerTries(async (message) => {
  const command = message as DestinationsCommand;
  switch (command.ask) {
    case "listen":
      return await listen(command);
    case "running":
      return await all("guests that run", ({ guest }) => guest.running);
    case "touch":
      return await touch(command.walk, command.pattern);
    case "finished":
      return await all("memory that has arrived", async ({ destination }) => {
        await destination.finished;
        return monotonicNanoseconds();
      });
    case "counted":
      return counted();
  }
});
Deno.exit(0);
