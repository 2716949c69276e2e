/** What sessions have counted, so that nothing that was counted is ever lost, or counted twice. */

import type { Direction, SessionView } from "../service/session.ts";
import { addReading, type FigureKey, FIGURES, readFigures, type Readings } from "./figures.ts";

/**
 * One session's. Its counters only grow: what is read while a thread writes it may be older in one half than in the
 * other.
 */
class Account {
  readonly direction: Direction;
  /** What it counts itself, by its parts, and what parts have counted that are gone. */
  readonly #parts = new Map<string, Readings>();
  readonly #gone: Readings = new Map();

  constructor(direction: Direction) {
    this.direction = direction;
  }

  read(parts: Map<string, Readings>): void {
    for (const [name, readings] of parts) {
      for (const [key, values] of readings) {
        for (const [label, value] of values) this.#set(name, key, value, label);
      }
    }
    for (const [name, readings] of this.#parts) {
      if (parts.has(name)) continue;
      addCounters(this.#gone, readings);
      this.#parts.delete(name);
    }
  }

  count(key: FigureKey, by: number): void {
    addReading(this.#gone, key, by);
  }

  /** All of it. */
  get readings(): Readings {
    const all: Readings = new Map();
    addCounters(all, this.#gone);
    for (const readings of this.#parts.values()) {
      for (const [key, values] of readings) {
        for (const [label, value] of values) addReading(all, key, value, label);
      }
    }
    return all;
  }

  #set(part: string, key: FigureKey, value: number, label: string): void {
    let readings = this.#parts.get(part);
    if (readings === undefined) this.#parts.set(part, readings = new Map());
    let values = readings.get(key);
    if (values === undefined) readings.set(key, values = new Map());
    const least = FIGURES[key].type === "gauge" ? value : values.get(label) ?? 0;
    values.set(label, Math.max(least, value));
  }
}

/** Keeps what each session counted last, and the sums of those that are gone. */
export class Accounts {
  readonly #accounts = new Map<string, Account>();
  readonly #gone = new Map<Direction, Readings>();

  /** Reads a session's figures, and returns them with what was counted of it. */
  read(view: SessionView): Readings {
    const account = this.#account(view);
    account.read(readFigures(view));
    return account.readings;
  }

  /** Counts something of a session that it does not count itself; 0 says that it may happen. */
  count(session: Pick<SessionView, "id" | "direction">, key: FigureKey, by: number = 1): void {
    this.#account(session).count(key, by);
  }

  /** Forgets all sessions but these. What they counted stays in the totals. */
  keepOnly(ids: ReadonlySet<string>): void {
    for (const [id, { direction, readings }] of this.#accounts) {
      if (ids.has(id)) continue;
      this.#accounts.delete(id);
      let gone = this.#gone.get(direction);
      if (gone === undefined) this.#gone.set(direction, gone = new Map());
      addCounters(gone, readings);
    }
  }

  /** What all sessions of a direction have counted, those that are gone too. */
  totals(direction: Direction): Readings {
    const totals: Readings = new Map();
    const gone = this.#gone.get(direction);
    if (gone !== undefined) addCounters(totals, gone);
    for (const account of this.#accounts.values()) {
      if (account.direction === direction) addCounters(totals, account.readings);
    }
    return totals;
  }

  #account({ id, direction }: Pick<SessionView, "id" | "direction">): Account {
    let account = this.#accounts.get(id);
    if (account === undefined) this.#accounts.set(id, account = new Account(direction));
    return account;
  }
}

/** Adds what is counted, and not how much there is of something now. */
function addCounters(totals: Readings, readings: Readings): void {
  for (const [key, values] of readings) {
    if (FIGURES[key].type === "gauge") continue;
    for (const [label, value] of values) addReading(totals, key, value, label);
  }
}
