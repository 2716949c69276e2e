/** Telling of connections that were no source's, seldom enough that a flood of them fills no log. */

/** Milliseconds between two reports of one kind. */
const INTERVAL = 10_000;

/** A line of `--json`: so many connections of a kind so far. */
export interface ConnectionEvent {
  readonly event:
    /** They said nothing, and were sent away. */
    | "sent-away"
    /** They came from a network that is not allowed. */
    | "not-allowed"
    /** TLS refused them. */
    | "refused";
  /** All so far. */
  readonly count: number;
  /** Host of the last one; of one that was refused, whose it was and why. */
  readonly last: string;
}

/** What is counted of a destination's connections. */
export interface ConnectionCounts {
  readonly silentConnections: Counted;
  readonly unallowedConnections: Counted;
  readonly refusedConnections: Counted;
}

type Counted = Pick<ConnectionEvent, "count" | "last">;

/** Tells it to people. */
export function connectionText({ event, count, last }: ConnectionEvent): string {
  const which = count === 1 ? "a connection" : `${count} connections so far`;
  switch (event) {
    case "refused":
      return `Refused ${which}${count === 1 ? "" : ", the last"}: ${last}`;
    case "not-allowed":
      return `Turned away ${which} by --allow-from${from(last)}`;
    case "sent-away":
      return `Sent away ${which} that said nothing${from(last)}: no source of a migration`;
  }
}

function from(host: string): string {
  return host === "" ? "" : `, the last from ${host}`;
}

/** Finds out whether there is something new to tell: the first at once, more every ten seconds at most. */
export class ConnectionNews {
  readonly #told = new Map<string, { readonly count: number; readonly at: number }>();

  /**
   * @param now milliseconds of any clock that runs evenly
   * @returns what to tell
   */
  look(counts: ConnectionCounts, now: number): ConnectionEvent[] {
    return [
      ...this.#news("sent-away", counts.silentConnections, now),
      ...this.#news("not-allowed", counts.unallowedConnections, now),
      ...this.#news("refused", counts.refusedConnections, now),
    ];
  }

  #news(event: ConnectionEvent["event"], { count, last }: Counted, now: number): ConnectionEvent[] {
    const told = this.#told.get(event);
    if (count === (told?.count ?? 0) || now - (told?.at ?? -Infinity) < INTERVAL) return [];
    this.#told.set(event, { count, at: now });
    return [{ event, count, last }];
  }
}
