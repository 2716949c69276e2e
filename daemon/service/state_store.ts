/** What the daemon must know of its sessions should it be killed: a small file for each, in one directory. */

import type { IncomingRequest, MigrationRequest, OutgoingRequest } from "./requests.ts";
import { removeStateFile, writeStateFile } from "./state_file.ts";

/** A migration whose guest is lost, or waits for ever, when nobody goes on with it. */
export interface KeptSession {
  readonly id: string;
  /** When it began, in ISO 8601. */
  readonly startedAt: string;
  /** What it was asked for with. */
  readonly request: OutgoingRequest | IncomingRequest;
  /** Of an incoming one: name of the file that has what has come. */
  readonly partial?: string;
  /** Where its destination listened last, or an incoming one listens, when that is not where the request says. */
  readonly to?: string;
  /** The key that it was asked for with. */
  readonly key?: string;
}

const SUFFIX = ".session.json";

/** The files. */
export class StateStore {
  readonly #directory: string;

  /** @param directory where they are; it is made when it is not there */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Makes the directory, where it is not there. */
  async prepare(): Promise<void> {
    await Deno.mkdir(this.#directory, { recursive: true, mode: 0o700 });
  }

  /** Keeps a session: it is on the disk then, whole. */
  keep(session: KeptSession): Promise<void> {
    return writeStateFile(this.#directory, `${session.id}${SUFFIX}`, session);
  }

  /** Forgets a session, of which nothing need be there. */
  forget(id: string): Promise<void> {
    return removeStateFile(this.#directory, `${id}${SUFFIX}`);
  }

  /**
   * Reads all that a daemon before this one kept.
   *
   * @returns the sessions, and a sentence about each file that cannot be used
   */
  async read(): Promise<{ readonly kept: KeptSession[]; readonly problems: string[] }> {
    const kept: KeptSession[] = [];
    const problems: string[] = [];
    for await (const { name } of Deno.readDir(this.#directory)) {
      if (!name.endsWith(SUFFIX)) continue;
      try {
        const text = await Deno.readTextFile(`${this.#directory}/${name}`);
        const session = JSON.parse(text) as KeptSession;
        const { direction } = session.request;
        if (`${session.id}${SUFFIX}` !== name || !["outgoing", "incoming"].includes(direction)) {
          throw new Error("it is no session of its name");
        }
        kept.push(session);
      } catch (error) {
        const why = error instanceof Error ? error.message : error;
        problems.push(`Session that was kept cannot be gone on with: ${name}: ${why}`);
      }
    }
    return { kept, problems };
  }
}

/** The request by which a session is gone on with. */
export function requestAgain({ request, to, partial }: KeptSession): MigrationRequest {
  if (request.direction === "incoming") {
    const listen = to ?? request.listen;
    return { ...request, listen, ...partial === undefined ? {} : { recover: partial } };
  }
  const { startAnew: _startAnew, ...again } = request;
  return { ...again, to: to ?? again.to, recover: true };
}
