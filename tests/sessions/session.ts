/** A migration of an image between two ends in this process, which a test ends as it likes. */

import { assertEquals } from "@std/assert";
import { Destination, type DestinationOptions } from "../../client/destination.ts";
import type { Image } from "../../image/image.ts";
import type { GuestMemory } from "../../migration/guest.ts";
import { Source, type SourceOptions } from "../../server/source.ts";
import { within } from "../support/deadline.ts";
import type { TestImage } from "../support/images.ts";
import { assertEachPageOnce, LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";

/** An image on disk, mapped once for all the sessions that serve it. */
export interface ServedImage {
  readonly file: TestImage;
  readonly image: Image;
}

/** How a session goes. */
export interface SessionOptions
  extends Omit<SourceOptions, "to" | "tls">, Omit<DestinationOptions, "guest" | "tls"> {
  /** Pages that the guest reads before anything else. The source must be there: this thread waits. */
  readonly touches?: readonly number[];
}

/** How an end ended. */
export interface Ending {
  /** `"completed"`, or the error's code. */
  readonly code: string;
  readonly message: string;
}

/** A guest that is loaded when it is let in: its session stands still before that. */
class WaitingGuest extends StillGuest {
  readonly #loading = Promise.withResolvers<void>();
  readonly #admitted = Promise.withResolvers<void>();

  /** Resolves when it waits. */
  get loading(): Promise<void> {
    return this.#loading.promise;
  }

  letIn(): void {
    this.#admitted.resolve();
  }

  override async load(state: Uint8Array, memory: GuestMemory): Promise<void> {
    super.load(state, memory);
    this.#loading.resolve();
    await this.#admitted.promise;
  }
}

/** Both ends of a migration under way. Its guest is loaded once it is let in. */
export class Session implements AsyncDisposable {
  readonly destination: Destination;
  readonly source: Source;
  /** How the source ended; never rejects. */
  readonly sent: Promise<Ending>;
  /** How the destination ended, or why it is paused; never rejects. */
  readonly arrived: Promise<Ending>;
  readonly #served: ServedImage;
  readonly #guest: WaitingGuest;

  private constructor(
    served: ServedImage,
    guest: WaitingGuest,
    destination: Destination,
    source: Source,
  ) {
    this.#served = served;
    this.#guest = guest;
    this.destination = destination;
    this.source = source;
    const paused = destination.waitFor("postcopy-paused").then(() => destination.pauseReason!);
    this.arrived = ending(
      Promise.race([
        destination.finished,
        // It completes, fails or is closed: `finished` says so.
        paused.catch(() => new Promise<never>(() => {})).then((reason) => Promise.reject(reason)),
      ]),
    );
    this.sent = ending(source.run());
  }

  /** Starts it. */
  static async start(
    served: ServedImage,
    { touches = [], ...options }: SessionOptions,
  ): Promise<Session> {
    const guest = new WaitingGuest((guest) => {
      const words = guest.words();
      for (const page of touches) Atomics.load(words, page * 1024);
    });
    const destination = new Destination({ ...options, guest });
    const to = await destination.listen(LOOPBACK);
    const source = new Source(served.image, { ...options, to });
    return new Session(served, guest, destination, source);
  }

  /** What the guest was told. */
  get calls(): readonly string[] {
    return this.#guest.calls;
  }

  /** Waits until the guest would be loaded. */
  async loads(): Promise<void> {
    await within("the guest to be loaded", Promise.race([this.#guest.loading, this.#over()]));
  }

  /** Lets the guest in. */
  letIn(): void {
    this.#guest.letIn();
  }

  /** Lets the guest in, and waits until it runs. */
  async runs(): Promise<void> {
    this.letIn();
    const running = this.destination.waitFor("postcopy-active");
    await within("the guest to run", Promise.race([running, this.#over()]));
  }

  /** Lets the guest in, and sees that both ends complete and every byte is right. */
  async complete(): Promise<void> {
    this.letIn();
    const endings = await within("both ends to end", Promise.all([this.sent, this.arrived]));
    const completed = { code: "completed", message: "" };
    assertEquals(endings, [completed, completed]);
    const source = this.source.statistics();
    assertEachPageOnce({ source, destination: this.destination.statistics() });
    this.#served.file.assertEqualMemory(this.#guest.blocks);
    assertEquals(this.calls, ["load", "start"]);
  }

  /** Closes both ends at once. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = Promise.all([this.source.close(), this.destination.close()]);
    this.letIn(); // a destination is closed when its guest is loaded, or refused
    await within("both ends to close", closed);
  }

  async #over(): Promise<never> {
    const { message } = await Promise.race([this.sent, this.arrived]);
    throw new Error(`It is over: ${message}`);
  }
}

function ending(promise: Promise<unknown>): Promise<Ending> {
  return promise.then(
    () => ({ code: "completed", message: "" }),
    ({ code = "none", message }) => ({ code, message }),
  );
}
