/** A daemon's life between its start and its end: what signals and the service manager want of it. */

import type { Logger } from "../npm/logtape.ts";
import type { SessionView } from "../service/session.ts";
import { literal } from "./log_events.ts";
import type { ServiceManager } from "./service_manager.ts";

/** Milliseconds for which more time is asked, and between two times that this is done. */
const EXTENSION = 60_000;
const EXTEND_EVERY = 10_000;
/** Milliseconds between two looks at what the service manager shows. */
const STATUS_EVERY = 5_000;

/** What is ended in order. */
export interface LivingService {
  /** All sessions. */
  list(): readonly SessionView[];
  /** What would be lost if it ended now, a sentence for each session. */
  stakes(): readonly string[];
  /** Takes no more sessions; resolves when nobody needs this process any more. */
  drain(): Promise<void>;
}

/** What a life consists of. */
export interface LifeParts {
  readonly service: LivingService;
  readonly manager: ServiceManager;
  readonly logger: Pick<Logger, "info" | "warning" | "error">;
  /**
   * Reads the configuration again, and takes up what can be changed while it runs.
   *
   * @returns what cannot, a sentence each
   * @throws when it cannot be read: all stays as it was
   */
  readonly reload: () => Promise<readonly string[]>;
  /** Whether it does its work, for the watchdog. */
  readonly isWell?: () => boolean;
}

/** How a life ended. */
export type LifeEnd =
  /** Nobody needed it. */
  | "drained"
  /** Its user wanted it, although somebody did. */
  | "cut";

const SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP"] as const;
type Signal = typeof SIGNALS[number];

/** Signals that come before there is a life to hear them: without it they would end the process. */
export class EarlySignals implements Disposable {
  readonly #stack = new DisposableStack();
  readonly #heard: Signal[] = [];

  /** Keeps signals from now on. */
  constructor() {
    onSignals(this.#stack, (signal) => this.#heard.push(signal));
  }

  /** Has a life hear them, which hears all others by itself. */
  passTo(life: Life): void {
    this.#stack.dispose();
    for (const signal of this.#heard.splice(0)) life.hear(signal);
  }

  /** Keeps none any more. */
  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}

function onSignals(stack: DisposableStack, hear: (signal: Signal) => void): void {
  for (const signal of SIGNALS) {
    const listener = (): void => hear(signal);
    Deno.addSignalListener(signal, listener);
    stack.defer(() => Deno.removeSignalListener(signal, listener));
  }
}

/**
 * Lives until it is told to end, and nobody needs this process any more.
 *
 * - SIGTERM, and the first Ctrl-C: takes no more sessions, finishes what guests need, and ends.
 * - Another one says what would be lost. A Ctrl-C that was told so ends it at once.
 * - SIGHUP reads the configuration again.
 */
export class Life implements Disposable {
  readonly #parts: LifeParts;
  readonly #stack = new DisposableStack();
  readonly #end = Promise.withResolvers<LifeEnd>();
  #draining = false;
  #told = false;
  #reload: Promise<void> = Promise.resolve();

  /** Hears signals from now on. */
  constructor(parts: LifeParts) {
    this.#parts = parts;
    onSignals(this.#stack, (signal) => this.hear(signal));
  }

  /** Tells the service manager that the work has begun, and resolves when it has ended. */
  async run(): Promise<LifeEnd> {
    const { manager, isWell = () => true } = this.#parts;
    await manager.ready(this.#statusText());
    manager.watch(isWell);
    let shown = "";
    const timer = setInterval(() => {
      const text = this.#statusText();
      if (text !== shown && !this.#draining) void manager.status(text);
      shown = text;
    }, STATUS_EVERY);
    this.#stack.defer(() => clearInterval(timer));
    return await this.#end.promise;
  }

  /** Answers a signal. */
  hear(signal: Signal): void {
    if (signal === "SIGHUP" && !this.#draining) {
      this.#reload = this.#reload.then(() => this.#reloadNow());
      return;
    }
    if (signal === "SIGHUP") return;
    if (!this.#draining) return this.#drain(signal);
    const stakes = this.#parts.service.stakes();
    if (signal === "SIGINT" && this.#told) return this.#end.resolve("cut");
    this.#told = true;
    const { logger } = this.#parts;
    if (stakes.length === 0) return logger.info("Ending already: nothing would be lost");
    for (const stake of stakes) {
      logger.warning(`Ending already, and still needed: ${literal(stake)}`);
    }
    logger.warning(
      "Cut off now, their guests stand still until the next start, which goes on with them by itself: " +
        "Ctrl-C once more does that",
    );
  }

  /** Hears no signal any more, and says nothing. */
  [Symbol.dispose](): void {
    this.#stack.dispose();
  }

  #drain(signal: Signal): void {
    this.#draining = true;
    const { service, manager, logger } = this.#parts;
    logger.info(`${signal}: takes no more sessions, finishes what guests need, and ends`);
    void manager.stopping(this.#statusText());
    const extend = (): void => void manager.extend(EXTENSION, this.#statusText());
    extend();
    const timer = setInterval(() => {
      extend();
      for (const stake of service.stakes()) logger.info(`Waits for: ${literal(stake)}`);
    }, EXTEND_EVERY);
    this.#stack.defer(() => clearInterval(timer));
    service.drain().then(() => this.#end.resolve("drained"), (error) => this.#end.reject(error));
  }

  async #reloadNow(): Promise<void> {
    const { manager, logger, reload } = this.#parts;
    await manager.reloading();
    try {
      const refused = await reload();
      for (const text of refused) logger.warning(literal(text));
      logger.info(
        refused.length === 0
          ? "Configuration was read again"
          : "Configuration was read again; what is named above holds from the next start on",
      );
    } catch (error) {
      logger.error(
        `Configuration cannot be used, all stays as it was: ${literal((error as Error).message)}`,
      );
    } finally {
      await manager.ready(this.#statusText());
    }
  }

  #statusText(): string {
    const sessions = this.#parts.service.list().filter(({ endedAt }) => endedAt === undefined);
    const paused = sessions.filter(({ status }) => status === "postcopy-paused").length;
    const text = `${sessions.length} sessions, ${paused} paused`;
    return this.#draining ? `Ending: ${text}` : text;
  }
}
