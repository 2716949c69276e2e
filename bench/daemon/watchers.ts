/**
 * Child process: those who look at a daemon: a dashboard, which reads events as they come, looks at the sessions and
 * draws the map of one; a Prometheus that scrapes the metrics every second; and clients of the interface, each
 * on a connection of its own, which ask for the sessions once a second.
 *
 * Arguments: the daemon's socket, number of clients. Each line in is a {@linkcode WatchersCommand}, each line out
 * its answer. Ends with its standard input.
 *
 * @module
 */

import { ApiClient } from "../../daemon/command/api_client.ts";
import type { SessionView } from "../../daemon/service/session.ts";
import { answerTries } from "../sessions/answers.ts";

/** What they can be asked. */
export interface WatchersCommand {
  readonly ask: "watch" | "rest";
}

/** Answer to both: what was done since they were told to watch. */
export interface Watched {
  /** Answers to clients. */
  readonly answers: number;
  /** Scrapes of the metrics, and bytes of the last. */
  readonly scrapes: number;
  readonly scrapeBytes: number;
  /** Looks of the dashboard at sessions and maps, and events that it read. */
  readonly looks: number;
  readonly events: number;
}

/** Milliseconds between two questions of one client. */
const INTERVAL = 1000;
const MAP_CELLS = 1024;

const [socket = "", count = "50"] = Deno.args;
const address = { transport: "unix", path: socket } as const;

class Watchers {
  readonly #abort = new AbortController();
  readonly #loops: Promise<void>[] = [];
  readonly #failures: unknown[] = [];
  #done = { answers: 0, scrapes: 0, scrapeBytes: 0, looks: 0, events: 0 };

  start(clients: number): void {
    for (let client = 0; client < clients; client++) {
      // Spread over the second, as strangers would be.
      this.#begin(this.#every(client * INTERVAL / clients, async (api) => {
        await api.ask("/migrations", { signal: this.#abort.signal });
        this.#done.answers++;
      }));
    }
    this.#begin(this.#scrape());
    this.#begin(this.#events());
    this.#begin(this.#every(0, async (api) => {
      const { signal } = this.#abort;
      const { migrations: [first] } = await api.ask<{ migrations: SessionView[] }>("/migrations", {
        signal,
      });
      if (first !== undefined) {
        await api.ask(`/migrations/${first.id}/map?cells=${MAP_CELLS}`, { signal });
      }
      this.#done.looks++;
    }));
  }

  /** Ends it once each has looked: on a busy machine that may be later than the end of a walk. */
  async stop(clients: number): Promise<Watched> {
    const { answers, scrapes, looks } = this.#done;
    const enough = answers >= clients && scrapes > 0 && looks > 0;
    if (!enough && this.#failures.length === 0) {
      await this.#pause(INTERVAL / 10);
      return await this.stop(clients);
    }
    this.#abort.abort();
    await Promise.all(this.#loops);
    if (this.#failures.length > 0) throw this.#failures[0];
    return this.#done;
  }

  /** One that fails is told at the end. */
  #begin(loop: Promise<void>): void {
    this.#loops.push(loop.catch((error) => void this.#failures.push(error)));
  }

  /** A client that asks again and again, each time a second after it has asked before. */
  async #every(delay: number, act: (api: ApiClient) => Promise<void>): Promise<void> {
    using api = new ApiClient({ address });
    await this.#pause(delay);
    while (!this.#abort.signal.aborted) {
      const next = performance.now() + INTERVAL;
      try {
        await act(api);
      } catch (error) {
        if (!this.#abort.signal.aborted) throw error;
      }
      await this.#pause(next - performance.now());
    }
  }

  async #scrape(): Promise<void> {
    using client = Deno.createHttpClient({ proxy: { transport: "unix", path: socket } });
    while (!this.#abort.signal.aborted) {
      const next = performance.now() + INTERVAL;
      const response = await fetch("http://localhost/metrics", { client });
      const text = await response.text();
      if (!response.ok) throw new Error(`/metrics answers ${response.status}: ${text}`);
      this.#done.scrapes++;
      this.#done.scrapeBytes = text.length;
      await this.#pause(next - performance.now());
    }
  }

  async #events(): Promise<void> {
    using api = new ApiClient({ address });
    for await (const _event of api.events(this.#abort.signal)) this.#done.events++;
  }

  async #pause(milliseconds: number): Promise<void> {
    if (milliseconds <= 0 || this.#abort.signal.aborted) return;
    await new Promise<void>((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#abort.signal.removeEventListener("abort", end);
        resolve();
      };
      const timer = setTimeout(end, milliseconds);
      this.#abort.signal.addEventListener("abort", end);
    });
  }
}

let watchers: Watchers | undefined;

await answerTries(async (message) => {
  const { ask } = message as WatchersCommand;
  if (ask === "watch") {
    watchers = new Watchers();
    watchers.start(Number(count));
    return {};
  }
  const done = await watchers!.stop(Number(count));
  watchers = undefined;
  return done;
});
Deno.exit(0);
