/** Who may connect to a destination, and what became of those who did. */

import { loadCredentials } from "../../channel/tls/credentials.ts";
import { checkStallTimeout } from "../../ffi/peer_watch.ts";
import type { TlsContext } from "../../ffi/tls/context.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { AllowList } from "./allow_list.ts";
import type { PlacesOptions } from "./places.ts";
import { SentAway, type SharedSentAway, type SilentConnections } from "./sent_away.ts";

/** TLS of an end that listens: certificates, or keys that both ends know. */
export interface ServerTlsOptions {
  /**
   * A directory with `ca-cert.pem`, `server-cert.pem` and `server-key.pem`, or with `keys.psk`, as QEMU's
   * `tls-creds-x509` and `tls-creds-psk` have; or a file of pre-shared keys. Read once.
   */
  readonly credentials: string;
  /**
   * Who may connect: distinguished names (RFC 4514, as QEMU's `authz-simple` has them), or host names, of which
   * a source's certificate must have one. Absent: whoever has a certificate of the authority.
   */
  readonly authorized?: readonly string[];
  /** Whether a source must show a certificate of the authority; default true. Without it anybody may connect. */
  readonly verifyPeer?: boolean;
  /** Told of files that work but should not be as they are: a private key that others can read. */
  readonly onWarning?: (warning: string) => void;
}

/** Who may connect. */
export interface AccessOptions {
  /**
   * Milliseconds after which a source that gives no sign of life counts as gone, also at rest: its host is
   * down, or the network between. Default 30000, at most a day. The source has the same option.
   */
  readonly stallTimeout?: number;
  /** TLS for every connection; absent: whoever reaches the port is the source, and all passes in clear. */
  readonly tls?: ServerTlsOptions;
  /**
   * Networks whose hosts may connect, such as `192.0.2.0/24` or `2001:db8::7`; absent: any. Others are cut
   * off at once. An address proves nothing where it can be forged: that takes TLS.
   */
  readonly allowFrom?: readonly string[];
  /** Threads that serve it; default the process's own pool, {@linkcode ThreadPool.shared}. */
  readonly pool?: ThreadPool;
}

/** Connections that were refused by TLS: somebody without a certificate, or with a wrong one. */
export interface RefusedConnections {
  /** How many so far. */
  readonly count: number;
  /** Whose the last one was that was told of, and why it was refused. */
  readonly last: string;
}

/** Checks the options, and counts who was sent away. */
export class Access implements Disposable {
  readonly #stallTimeout: number;
  readonly #options: AccessOptions;
  readonly #context: TlsContext | undefined;
  readonly #sentAway: SentAway;
  readonly #unallowed = new SentAway();
  #refused: RefusedConnections = { count: 0, last: "" };

  /**
   * Reads the credentials.
   *
   * @param options who may connect
   * @param sentAway where those are counted who said nothing; without it, new memory
   * @throws {TlsError} naming the file of the credentials, and what to do about it
   * @throws {RangeError} for a stall timeout or a network that cannot be
   */
  constructor(options: AccessOptions, sentAway?: SharedSentAway) {
    this.#options = options;
    this.#stallTimeout = checkStallTimeout(options.stallTimeout);
    this.#sentAway = new SentAway(sentAway);
    const { tls, allowFrom } = options;
    if (allowFrom !== undefined) new AllowList(allowFrom);
    if (tls === undefined) return;
    const { credentials, onWarning = () => {} } = tls;
    this.#context = loadCredentials(credentials, "server", tls, onWarning);
  }

  /** What the places need where a source connects. */
  get places(): PlacesOptions {
    const { allowFrom: networks } = this.#options;
    return {
      stallTimeout: this.#stallTimeout,
      sentAway: this.#sentAway,
      context: this.#context,
      allowed: networks === undefined
        ? undefined
        : { networks, turnedAway: this.#unallowed.shared },
      pool: this.#options.pool ?? ThreadPool.shared,
      onRefused: (last, others) => {
        this.#refused = { count: this.#refused.count + 1 + others, last };
      },
    };
  }

  /** Connections that said nothing, and were sent away. */
  get silentConnections(): SilentConnections {
    return this.#sentAway.soFar;
  }

  /** Connections from networks that are not allowed; the last one's host. */
  get unallowedConnections(): SilentConnections {
    return this.#unallowed.soFar;
  }

  /** Connections that TLS refused. */
  get refusedConnections(): RefusedConnections {
    return this.#refused;
  }

  /** Frees the credentials; nobody accepts any more. */
  [Symbol.dispose](): void {
    this.#context?.close();
  }
}
