/** Sessions that have ended, as the next daemon tells of them: it knows a repeated request by its key. */

import type { StartRequest } from "./requests.ts";
import { ServiceError } from "./service_error.ts";
import type { Direction, Session, SessionView } from "./session.ts";
import { removeStateFile, writeStateFile } from "./state_file.ts";

/** What is kept of one. */
export interface EndedRecord {
  /** The key that it was asked for with. */
  readonly key: string;
  /** What it was asked for with. */
  readonly request: StartRequest;
  /** How it stood at its end. */
  readonly view: SessionView;
}

const SUFFIX = ".ended.json";

/** A file for each of them, in the state directory. What is asked for is done in the order of the calls. */
export class EndedStore {
  /** Resolves when all is done that was asked for. */
  settled: Promise<void> = Promise.resolve();
  readonly #directory: string;
  readonly #fail: (id: string, error: Error) => void;

  /**
   * @param directory which is there
   * @param fail told what could not be written
   */
  constructor(directory: string, fail: (id: string, error: Error) => void) {
    this.#directory = directory;
    this.#fail = fail;
  }

  /** Keeps one. */
  keep(record: EndedRecord): void {
    const { id } = record.view;
    this.#do(id, () => writeStateFile(this.#directory, `${id}${SUFFIX}`, record));
  }

  /** Forgets one, of which nothing need be there. */
  forget(id: string): void {
    this.#do(id, () => removeStateFile(this.#directory, `${id}${SUFFIX}`));
  }

  /**
   * Reads all that ended lately, the oldest first; others are removed, and what cannot be read.
   *
   * @param since milliseconds since 1970
   */
  async read(since: number): Promise<EndedRecord[]> {
    const records: EndedRecord[] = [];
    for await (const { name } of Deno.readDir(this.#directory)) {
      if (!name.endsWith(SUFFIX)) continue;
      const id = name.slice(0, -SUFFIX.length);
      const record = await this.#readOne(id);
      if (record !== undefined && endOf(record) >= since) records.push(record);
      else this.forget(id);
    }
    return records.sort((one, other) => endOf(one) - endOf(other));
  }

  #do(id: string, write: () => Promise<void>): void {
    this.settled = this.settled.then(write).catch((error) => this.#fail(id, error));
  }

  /** Undefined for what is no record of the session. */
  async #readOne(id: string): Promise<EndedRecord | undefined> {
    try {
      const text = await Deno.readTextFile(`${this.#directory}/${id}${SUFFIX}`);
      const record = JSON.parse(text) as EndedRecord;
      return record.view.id === id ? record : undefined;
    } catch {
      return undefined;
    }
  }
}

/** When it ended, in milliseconds since 1970; NaN where the record does not say. */
export function endOf({ view }: EndedRecord): number {
  return Date.parse(view.endedAt ?? "");
}

/** A session of a daemon before this one: all that can be done with it is to look. */
export class EndedSession implements Session {
  readonly id: string;
  readonly direction: Direction;
  readonly ended: Promise<void> = Promise.resolve();
  readonly over: boolean = true;
  readonly atStake: undefined = undefined;
  readonly #view: SessionView;

  /** @param view how it stood at its end */
  constructor(view: SessionView) {
    this.id = view.id;
    this.direction = view.direction;
    this.#view = view;
  }

  /** See {@linkcode Session.view}. */
  view(): SessionView {
    return this.#view;
  }

  /** See {@linkcode Session.pause}. */
  pause(): Promise<void> {
    return Promise.reject(this.#refusal());
  }

  /** See {@linkcode Session.recover}. */
  recover(): Promise<void> {
    return Promise.reject(this.#refusal());
  }

  /** See {@linkcode Session.startPostcopy}. */
  startPostcopy(): void {
    throw this.#refusal();
  }

  /** See {@linkcode Session.setLimits}. */
  setLimits(): void {
    throw this.#refusal();
  }

  /** See {@linkcode Session.map}: it is not kept. */
  map(): undefined {
    return undefined;
  }

  /** See {@linkcode Session.cancel}. */
  cancel(): Promise<void> {
    return Promise.reject(this.#refusal());
  }

  #refusal(): ServiceError {
    return new ServiceError("WRONG_STATE", `Session has ended: ${this.#view.status}`);
  }
}
