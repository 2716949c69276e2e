/** One session of the daemon, as everybody sees it, and what can be done with it. */

import type { ReceiveStatistics } from "../../client/receive/receive_statistics.ts";
import type { LazyStatistics } from "../../client/lazy/lazy_statistics.ts";
import type { RemoteStatistics } from "../../client/lazy/remote/remote_memory.ts";
import type { MemoryMap } from "../../migration/memory/memory_map.ts";
import type { SourceStatistics } from "../../server/outgoing/statistics.ts";

/** Parts of the map that is kept of a session which has ended: of a thousand of them these are 16 MB. */
export const LAST_MAP_CELLS = 512;

/** Which way memory goes. */
export type Direction = "outgoing" | "incoming" | "lazy";

/** Where a session stands; the names are QEMU's. A lazy one is `active` until it has `completed` or `failed`. */
export const SESSION_STATUSES = [
  "setup",
  "active",
  "device",
  "postcopy-active",
  "postcopy-paused",
  "postcopy-recover",
  "completed",
  "failed",
  "cancelled",
] as const;
/** One of {@linkcode SESSION_STATUSES}. */
export type SessionStatus = typeof SESSION_STATUSES[number];

/** Figures of a lazy session. */
export interface LazyHostStatistics {
  /** Each process that is served now. */
  readonly processes: readonly LazyStatistics[];
  /** The image, when it is at a page server. */
  readonly image?: RemoteStatistics;
}

/** Figures of a session, by its direction. */
export type SessionStatistics = SourceStatistics | ReceiveStatistics | LazyHostStatistics;

/** A session as it is told. */
export interface SessionView {
  /** Its name: no other session of this daemon has it. */
  readonly id: string;
  readonly direction: Direction;
  /** The image's name; of a lazy session also the address where it is, or CRIU's directory. */
  readonly image: string;
  /** Where the other end is, or is waited for. */
  readonly peer: string;
  readonly status: SessionStatus;
  /** When it began, in ISO 8601. */
  readonly startedAt: string;
  /** When it ended. */
  readonly endedAt?: string;
  /** Why it is paused, waits, or failed. */
  readonly reason?: string;
  /** The same for programs: the code of the module's error. */
  readonly code?: string;
  /** What to do about it. */
  readonly remedy?: string;
  /** What is to be typed at the other end so that it goes on. */
  readonly recover?: string;
  readonly statistics: SessionStatistics;
  /** Connections that were turned away, where somebody connects to it. */
  readonly refusals?: Refusals;
  /** What the user should know besides, the oldest first. */
  readonly notes: readonly string[];
}

/** What can be changed of a session that runs. */
export interface SessionLimits {
  /** Bytes a second of its background stream; 0 for no limit of its own. */
  readonly maxPostcopyBandwidth: number;
}

/** Connections that a session has turned away, by why. */
export interface Refusals {
  /** TLS did not accept them. */
  readonly tls: number;
  /** They came from a network that is not allowed. */
  readonly network: number;
  /** They said nothing. */
  readonly silent: number;
}

/** One session. What it cannot do it refuses with a `ServiceError` `WRONG_STATE` or `UNSUPPORTED`. */
export interface Session {
  readonly id: string;
  readonly direction: Direction;
  /** Resolves when it has ended, however it did. */
  readonly ended: Promise<void>;
  /** Whether it has ended. */
  readonly over: boolean;
  /** What would be lost if it were ended now, as a sentence without its full stop; undefined when nothing. */
  readonly atStake: string | undefined;
  /** What to do instead of ending it now, in sentences but for the last full stop, where that is not as usual. */
  readonly instead?: string;
  /** The session as it is now. */
  view(): SessionView;
  /** Breaks the connection of one in postcopy, until it is recovered. */
  pause(): Promise<void>;
  /**
   * Has a paused one go on.
   *
   * @param to outgoing: where the destination listens now; incoming: where to listen too
   */
  recover(to?: string): Promise<void>;
  /** Ends a precopy now; the rest follows on demand. */
  startPostcopy(): void;
  /** Changes its limits while it runs. */
  setLimits(limits: SessionLimits): void;
  /**
   * Its memory in so many parts; undefined when that is not known. Of one that has ended it is the last one, in as
   * many parts as that has.
   */
  map(cells: number): MemoryMap | undefined;
  /** Ends it, whatever is at stake; resolves when it has ended. */
  cancel(): Promise<void>;
}
