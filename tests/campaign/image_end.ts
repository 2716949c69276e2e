/** A source that serves an image: in this process, or in one of its own. */

import type { SocketAddress } from "../../ffi/socket_address.ts";
import type { Image } from "../../image/image.ts";
import { openImage } from "../../image/open_image.ts";
import { Source } from "../../server/source.ts";
import { ScriptProcess } from "../support/processes.ts";
import type { Encryption } from "../support/migrate.ts";
import type { StatusLog } from "../support/status_log.ts";
import type { Plan } from "./draw.ts";
import type { Expected } from "./destination_ends.ts";
import type { ServingEvent, ServingJob } from "./serving_process.ts";
import { type SourceEnd, sourceOptions } from "./source_ends.ts";

/** What serves. */
interface Serving {
  readonly status: string;
  readonly pauseReason: Error | undefined;
  readonly figures: string;
  readonly ended: Promise<Error | undefined>;
  pause(): void;
  recover(): void;
  kill(): Promise<void>;
}

/** Serves an image, by one source after the other. */
export class ImageEnd implements SourceEnd {
  readonly hasGuest = false;
  readonly expected: Expected;
  readonly ended: Promise<Error | undefined>;
  readonly #settled = Promise.withResolvers<Error | undefined>();
  readonly #plan: Plan;
  readonly #tls: Encryption["source"] | undefined;
  readonly #path: string;
  readonly #log: StatusLog;
  #to: SocketAddress | undefined;
  #serving: Serving | undefined;
  #killed = false;

  constructor(
    plan: Plan,
    tls: Encryption["source"] | undefined,
    path: string,
    expected: Expected,
    log: StatusLog,
  ) {
    this.#plan = plan;
    this.#tls = tls;
    this.#path = path;
    this.expected = expected;
    this.#log = log;
    this.ended = this.#settled.promise;
  }

  get status(): string {
    return this.#serving?.status ?? "setup";
  }

  get pauseReason(): Error | undefined {
    return this.#serving?.pauseReason;
  }

  get figures(): string {
    return this.#serving?.figures ?? "";
  }

  start(to: SocketAddress): void {
    this.#to = to;
    this.#serve(false).catch((error) => this.#settled.resolve(error));
  }

  pause(): void {
    this.#serving?.pause();
  }

  recover(): void {
    this.#serving?.recover();
  }

  async kill(): Promise<void> {
    this.#killed = true;
    await this.#serving?.kill();
  }

  /** @throws when the image cannot be opened */
  async again(): Promise<void> {
    this.#killed = false;
    await this.#serve(true);
  }

  /** It is not to go on: what became of it is what became of the whole. */
  giveUp(): void {
    this.#settled.resolve(new Error("Source was killed"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  async #serve(recover: boolean): Promise<void> {
    const plan = this.#plan;
    const tls = this.#tls;
    const job: ServingJob = {
      ...{ plan, path: this.#path, to: this.#to!, recover },
      ...tls === undefined ? {} : { tls },
    };
    const serving = plan.child
      ? new ChildServing(job, this.#log)
      : await OwnServing.start(job, this.#log);
    this.#serving = serving;
    serving.ended.then((error) => {
      if (!this.#killed && this.#serving === serving) this.#settled.resolve(error);
    });
  }
}

class OwnServing implements Serving {
  readonly ended: Promise<Error | undefined>;
  readonly #source: Source;
  readonly #image: Image;

  private constructor(source: Source, image: Image) {
    this.#source = source;
    this.#image = image;
    this.ended = source.run().then(() => undefined, (error) => error as Error);
  }

  static async start(
    { plan, path, to, recover, tls }: ServingJob,
    log: StatusLog,
  ): Promise<OwnServing> {
    const image = await openImage(path);
    const options = { ...sourceOptions(plan, tls, log), to, recover };
    return new OwnServing(new Source(image, options), image);
  }

  get status(): string {
    return this.#source.status;
  }

  get pauseReason(): Error | undefined {
    return this.#source.pauseReason;
  }

  get figures(): string {
    const { ram, status } = this.#source.statistics();
    return JSON.stringify({ status, ...ram });
  }

  pause(): void {
    this.#source.pause();
  }

  recover(): void {
    this.#source.recover();
  }

  async kill(): Promise<void> {
    await this.#source.close();
    await this.ended;
    this.#image[Symbol.dispose]();
  }
}

class ChildServing implements Serving {
  readonly ended: Promise<Error | undefined>;
  readonly #process: ScriptProcess;
  readonly #log: StatusLog;
  #status = "setup";
  #listens = false;
  #reason: Error | undefined;
  #result: ServingEvent | undefined;

  constructor(job: ServingJob, log: StatusLog) {
    this.#log = log;
    this.#process = new ScriptProcess("tests/campaign/serving_process.ts", [JSON.stringify(job)]);
    this.ended = this.#follow();
  }

  get status(): string {
    return this.#status;
  }

  get pauseReason(): Error | undefined {
    return this.#reason;
  }

  get figures(): string {
    return JSON.stringify(this.#result ?? {});
  }

  pause(): void {
    this.#signal("SIGUSR1");
  }

  recover(): void {
    this.#signal("SIGUSR2");
  }

  /** One that does not listen to it yet would end. */
  #signal(signal: Deno.Signal): void {
    if (this.#listens) this.#process.kill(signal);
  }

  async kill(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.ended;
  }

  async #follow(): Promise<Error | undefined> {
    await this.#process.line("the serving process to end", (line) => {
      const event = JSON.parse(line) as ServingEvent;
      this.#listens = true;
      if (event.kind === "status") {
        this.#status = event.status;
        this.#reason = event.reason === undefined ? undefined : new Error(event.reason);
        this.#log.add(event.status, this.#reason);
        return undefined;
      }
      this.#result = event;
      return true;
    });
    const { code, errors, signal } = await this.#process.ended;
    const { error } = (this.#result ?? {}) as { error?: string };
    if (error !== undefined) return new Error(error);
    return code === 0
      ? undefined
      : new Error(`Serving process ended with ${signal ?? code}: ${errors}`);
  }
}
