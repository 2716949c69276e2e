/** A thousand sessions of one process: each its own bytes, and nothing of them left behind. */
import "../support/native.ts";
import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { openImage } from "../../image/open_image.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { MODES } from "../../server/sending/mode.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { Random } from "../support/random.ts";
import { mapped, threads } from "./footprint.ts";
import { type ServedImage, Session, type SessionOptions } from "./session.ts";

const SESSIONS = 1000;
/** Before what a thread maps for itself is there. */
const FIRST = 50;
/** Open at once, and those of them that end. */
const MOST_OPEN = 50;
const MOST_ENDING = 10;
/** Bytes of the smallest guest. */
const SMALLEST = 64 << 10;
/** Threads of a pool with one of each kind: two at each end. */
const THREADS = 4;
const MIB = 1 << 20;

/** How a session ends. */
const ENDINGS = [
  ...["completes", "completes", "completes", "completes", "completes"] as const,
  ...["source closed", "destination closed", "aborted", "closed while it runs"] as const,
];
type End = typeof ENDINGS[number];

/** What the ends say of each other. */
const CODES: Record<Exclude<End, "completes">, readonly [RegExp, RegExp]> = {
  "source closed": [/^CANCELLED$/, /^(CONNECTION_LOST|CANCELLED)$/],
  "destination closed": [/^(CONNECTION_LOST|PEER_FAILED|ECONNREFUSED|ECONNRESET)$/, /^CANCELLED$/],
  "aborted": [/^ENOUGH$/, /^(CONNECTION_LOST|CANCELLED)$/],
  "closed while it runs": [/^CANCELLED$/, /^CONNECTION_LOST$/],
};

/** Opens and closes sessions in random order. */
class Crowd {
  readonly ended: Record<End, number> = {
    "completes": 0,
    "source closed": 0,
    "destination closed": 0,
    "aborted": 0,
    "closed while it runs": 0,
  };
  /** The most that was mapped meanwhile. */
  mostMapped = 0;
  readonly #images: readonly ServedImage[];
  readonly #pool: ThreadPool;
  readonly #random: Random;
  readonly #open: (() => void)[] = [];

  constructor(images: readonly ServedImage[], pool: ThreadPool, random: Random) {
    this.#images = images;
    this.#pool = pool;
    this.#random = random;
  }

  /** Runs so many sessions, some of them at once, each to its end. */
  async run(count: number): Promise<void> {
    const random = this.#random;
    const running = new Set<Promise<void>>();
    let failure: unknown;
    for (let left = count; left > 0 && failure === undefined; left--) {
      const session = this.#one(random.u32()).catch((error) => {
        failure ??= error;
      });
      running.add(session);
      session.then(() => running.delete(session));
      if (left % 100 === 0) this.mostMapped = Math.max(this.mostMapped, mapped());
      // Which is the next to be ended is chance, and so is how far it has come by then.
      if (this.#open.length > MOST_OPEN - MOST_ENDING) this.#endOne();
      if (running.size === MOST_OPEN) await Promise.race(running);
    }
    while (this.#open.length > 0) this.#endOne();
    await Promise.all(running);
    if (failure !== undefined) throw failure;
  }

  #endOne(): void {
    const [end] = this.#open.splice(this.#random.below(this.#open.length), 1);
    end?.();
  }

  /** Opens a session; ends it when its turn has come. */
  async #one(seed: number): Promise<void> {
    const random = new Random(seed);
    const end = random.pick(ENDINGS);
    const { promise: turn, resolve } = Promise.withResolvers<void>();
    this.#open.push(resolve);
    try {
      await this.#play(random, end, turn);
    } catch (cause) {
      throw new Error(`Session that ${end}, random numbers of seed ${seed}`, { cause });
    }
    assert(this.#pool.threads <= THREADS, `Threads: ${this.#pool.threads}`);
    this.ended[end]++;
  }

  async #play(random: Random, end: End, turn: Promise<void>): Promise<void> {
    const served = random.pick(this.#images);
    const abort = new AbortController();
    const options: SessionOptions = {
      pool: this.#pool,
      mode: random.pick(MODES),
      backing: random.pick(["anonymous", "memfd"] as const),
      // One that is ended while it runs still lacks most of its memory then.
      maxPostcopyBandwidth: end === "closed while it runs" ? 1 : random.pick([0, MIB]),
      touches: end === "completes" ? [random.below(served.file.pages)] : [],
      signal: abort.signal,
    };
    await using session = await Session.start(served, options);
    if (end === "closed while it runs") await session.runs();
    await turn;
    if (end === "completes") return await session.complete();
    if (end === "destination closed") {
      const closed = session.destination.close();
      session.letIn();
      await within("the destination to close", closed);
    } else if (end === "aborted") {
      abort.abort(Object.assign(new Error("Enough"), { code: "ENOUGH" }));
    } else {
      await within("the source to close", session.source.close());
    }
    const source = await within("the source to end", session.sent);
    const [here, there] = CODES[end];
    assert(here.test(source.code), `Source: ${source.code}: ${source.message}`);
    // It may not have heard of the source yet, and then it is closed as it stands.
    if (end !== "closed while it runs") await session[Symbol.asyncDispose]();
    const destination = await within("the destination to end", session.arrived);
    assert(
      there.test(destination.code),
      `Destination: ${destination.code}: ${destination.message}`,
    );
  }
}

Deno.test(
  "ThreadPool serves a thousand sessions that open and end in any order, and nothing of them stays",
  leavingNoDescriptors(async () => {
    const workers = threads();
    using stack = new DisposableStack();
    const images: ServedImage[] = [];
    for (const pages of [1, 2, 3, 4].map((times) => times * SMALLEST / 4096)) {
      const file = stack.use(await TestImage.make({ ram: pages }, { seed: pages }));
      images.push({ file, image: stack.use(await openImage(file.path)) });
    }
    const pool = new ThreadPool({ urgentThreads: 1, bulkThreads: 1, linger: 1e9 });
    const crowd = new Crowd(images, pool, new Random(1000));
    try {
      await crowd.run(FIRST);
      const before = mapped();
      await crowd.run(SESSIONS - FIRST);
      assertGreater(crowd.mostMapped - before, SMALLEST);
      assertLess(mapped() - before, SMALLEST);
      assertEquals(pool.threads, THREADS);
      assert(threads() >= THREADS, "No worker is known by its name");
    } finally {
      await within("the pool to close", pool.close());
    }
    const { ended } = crowd;
    assertEquals(Object.values(ended).reduce((sum, count) => sum + count), SESSIONS);
    for (const [end, count] of Object.entries(ended)) assertGreater(count, SESSIONS / 20, end);
    assertEquals(pool.threads, 0);
    await until("the threads to end", () => threads() <= workers);
    for (const { file } of images) file.assertUntouched();
  }),
);
