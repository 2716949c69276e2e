/** The kinds of source, seen alike. */

import type { SocketAddress } from "../../ffi/socket_address.ts";
import type { SourceOptions } from "../../server/source.ts";
import type { Encryption } from "../support/migrate.ts";
import type { StatusLog } from "../support/status_log.ts";
import type { Plan } from "./draw.ts";
import type { Expected } from "./destination_ends.ts";

/** A source. */
export interface SourceEnd extends AsyncDisposable {
  readonly status: string;
  readonly pauseReason: Error | undefined;
  /** Settles with why it ended, or undefined when it completed; never rejects. */
  readonly ended: Promise<Error | undefined>;
  /** True when the guest runs here. */
  readonly hasGuest: boolean;
  readonly expected: Expected;
  /** Figures for the log. */
  readonly figures: string;
  start(to: SocketAddress): void;
  pause(): void;
  recover(): void;
  /** Ends without a word; resolves when it is gone. */
  kill(): Promise<void>;
  /** Another one takes its place, which goes on; resolves when it has begun. */
  again(): Promise<void>;
}

/** What every source of a plan is told; `tls` is the source's part of the credentials. */
export function sourceOptions(
  plan: Plan,
  tls: Encryption["source"] | undefined,
  log: StatusLog,
): Omit<SourceOptions, "to"> {
  const { mode, compress, bandwidth, stallTimeout, order } = plan;
  return {
    ...order,
    mode,
    maxPostcopyBandwidth: bandwidth,
    stallTimeout,
    ...compress === undefined ? {} : { compress: { method: compress, threads: 2 } },
    ...tls === undefined ? {} : { tls },
    onStatus: log.add,
  };
}
