/** An image that is being received, as its user sees it: progress, pauses, the end. */

import type { Reporter } from "../../migration/command/reporter.ts";
import type { ImageReceiver } from "../receive/image_receiver.ts";
import { resumption } from "../receive/fate.ts";
import { ConnectionNews } from "./connection_news.ts";
import { type ReceiveEvent, type ReceiveResult, resumeCommand } from "./receive_report.ts";

/** Milliseconds between two reports of progress. */
const PROGRESS_INTERVAL = 100;

/** Tells of one receiver. */
export class Receiving implements Disposable {
  readonly #receiver: ImageReceiver;
  readonly #reporter: Pick<Reporter<ReceiveEvent>, "event">;
  readonly #path: string;
  readonly #connections = new ConnectionNews();
  #paused: Error | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** @param path the image's name */
  constructor(
    receiver: ImageReceiver,
    path: string,
    reporter: Pick<Reporter<ReceiveEvent>, "event">,
  ) {
    this.#receiver = receiver;
    this.#path = path;
    this.#reporter = reporter;
  }

  /** Tells how it goes from now on, until it is disposed of. */
  begin(): void {
    this.#timer = setInterval(() => this.#report(), PROGRESS_INTERVAL);
  }

  /** How it stands, or ended. */
  get result(): ReceiveResult {
    const { machine } = this.#receiver;
    return {
      event: "result",
      image: this.#path,
      ...machine === undefined ? {} : { machine },
      ...this.#receiver.statistics(),
    };
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #report(): void {
    const receiver = this.#receiver;
    for (const news of this.#connections.look(receiver, performance.now())) {
      this.#reporter.event(news);
    }
    const { pauseReason, waitReason: reason } = receiver;
    if (pauseReason !== undefined && pauseReason !== this.#paused) {
      this.#reporter.event(pauseEvent(receiver, pauseReason));
    }
    this.#paused = pauseReason;
    if (reason !== undefined) this.#reporter.event({ event: "waiting", reason });
    else this.#reporter.event({ event: "progress", ...receiver.statistics() });
  }
}

function pauseEvent(receiver: ImageReceiver, { message }: Error): ReceiveEvent {
  const { fate } = receiver;
  const statistics = receiver.statistics();
  const resume = resumeCommand(receiver.addresses[0]!);
  return {
    event: "paused",
    reason: message,
    resume,
    complete: fate.complete,
    remaining: statistics.remaining,
    remedy: resumption(fate, resume, statistics),
  };
}
