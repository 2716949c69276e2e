/** An image that is being served, as its user sees it: progress, pauses, signals, the end. */

import { printLine, warnLine } from "../../migration/command/output.ts";
import {
  type EndingSignal,
  Interrupted,
  onHeldInterrupt,
} from "../../migration/command/interrupt.ts";
import { onPostcopySignal } from "../../migration/command/postcopy_signal.ts";
import type { ProgressLine } from "../../migration/report/progress_line.ts";
import type { Image } from "../../image/image.ts";
import { lossOf } from "../outgoing/fate.ts";
import type { SourceStatus } from "../outgoing/statistics.ts";
import type { Source, SourceOptions } from "../source.ts";
import type { Attendant } from "./attendant.ts";
import { ExitCode } from "./command_line.ts";
import { GuardedSource } from "./guarded_source.ts";
import type { HandOverGuard } from "./hand_over_guard.ts";
import type { OrderKeeper } from "./order_keeper.ts";
import { heldText, postcopyText, progressText, statusLines, summaryText } from "./serve_report.ts";

/** Milliseconds between two progress lines on a terminal. */
const PROGRESS_INTERVAL = 100;
/** Milliseconds between two lines of progress in a log, once a signal asked for the end. */
const LOG_INTERVAL = 5_000;

/** What ends a command before a guest runs anywhere. */
export function interruptedAtRest(): Interrupted {
  return new Interrupted("the image is as it was");
}

/** Runs one source, and tells the user of it. */
export class Serving {
  readonly #guarded: GuardedSource;
  readonly #options: SourceOptions;
  readonly #line: ProgressLine;
  readonly #attendant: Attendant | undefined;
  readonly #abort = new AbortController();
  #status: SourceStatus = "setup";
  #logAt = Infinity;

  /**
   * @param image what is served
   * @param options where to, and how
   * @param guard keeps others from starting the guest meanwhile
   * @param keeper knows in which order its pages go
   * @param line where progress is shown
   * @param attendant speaks to the destination; absent: the user does
   */
  constructor(
    image: Image,
    options: SourceOptions,
    guard: HandOverGuard,
    keeper: OrderKeeper,
    line: ProgressLine,
    attendant?: Attendant,
  ) {
    this.#options = options;
    this.#line = line;
    this.#attendant = attendant;
    attendant?.begin((...lines) => this.#tell(...lines));
    const served = {
      ...options,
      ...attendant === undefined ? {} : { listenAgain: attendant.listenAgain },
      signal: this.#abort.signal,
      onNote: (text: string) => this.#tell(text),
      onStatus: (status: SourceStatus, reason?: Error) => {
        const statistics = this.#source.statistics();
        const asked = attendant?.askedLines();
        this.#tell(
          ...statusLines(status, this.#status, reason, statistics, options.to, undefined, asked),
        );
        this.#status = status;
      },
    };
    const tell = (lines: readonly string[]) => this.#tell(...lines);
    this.#guarded = new GuardedSource(image, served, guard, keeper, tell);
  }

  get #source(): Source {
    return this.#guarded.source;
  }

  /**
   * Serves until the destination has all of the image.
   *
   * @param json whether the figures are printed as one JSON object
   * @returns the exit code
   * @throws what ended the migration
   */
  async run(json: boolean): Promise<number> {
    await using guarded = this.#guarded;
    const { source } = guarded;
    using _interrupt = onHeldInterrupt({
      isHeld: () => source.guestMayRun,
      hold: (signal) => this.#hold(signal),
      end: (held) => this.#abort.abort(held ? this.#abandoned() : interruptedAtRest()),
    });
    using _postcopy = onPostcopySignal(() => this.#startPostcopy());
    const progress = setInterval(() => this.#showProgress(), PROGRESS_INTERVAL);
    try {
      const statistics = await guarded.run();
      const report = await this.#attendant?.ended("completed");
      this.#line.clear();
      printLine(
        json ? JSON.stringify({ ...statistics, ...report?.json }) : summaryText(statistics),
      );
      this.#tell(...report?.lines ?? []);
      return ExitCode.DONE;
    } catch (error) {
      const report = await this.#attendant?.ended(source.ranNowhere ? "nowhere" : "handed-over");
      this.#tell(...report?.lines ?? []);
      this.#line.clear();
      const reason = error as Error;
      // QEMU's name for the reason.
      if (json) {
        const statistics = { ...source.statistics(), ...report?.json };
        printLine(JSON.stringify({ ...statistics, "error-desc": reason.message }));
      }
      throw reason;
    } finally {
      clearInterval(progress);
    }
  }

  /** The user wants the guest to run there now. */
  #startPostcopy(): void {
    const { multifd, postcopyAfter } = this.#options;
    if (postcopyAfter !== undefined) this.#source.startPostcopy();
    this.#tell(
      `postcopy: ${postcopyText(this.#source.status, multifd !== undefined, postcopyAfter)}`,
    );
  }

  /** Answers a signal while a guest needs the source. */
  #hold(signal: EndingSignal): void {
    if (signal !== "SIGINT") this.#logAt = performance.now();
    this.#tell(`postcopy: ${heldText(signal, this.#source.statistics())}`);
  }

  #abandoned(): Interrupted {
    const { remaining, "page-size": pageSize } = this.#source.statistics().ram;
    return new Interrupted(lossOf(remaining / pageSize));
  }

  #showProgress(): void {
    const text = progressText(this.#source.statistics(), this.#options);
    this.#line.update(text);
    if (performance.now() < this.#logAt) return;
    this.#logAt = performance.now() + LOG_INTERVAL;
    this.#tell(text);
  }

  /** Writes lines that stay. */
  #tell(...lines: string[]): void {
    if (lines.length === 0) return;
    this.#line.clear();
    for (const line of lines) warnLine(line);
  }
}
