/** Images that are received on one thread together: none sees anything of another. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { openImage } from "../../image/open_image.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { TestPattern } from "../../workload/test_pattern.ts";
import { HostileSource, PATTERN } from "../hostile/scripted_source.ts";
import { withDirectory } from "../image/captures.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { limitFiles } from "../support/file_limit.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { needsCommand, testUnless } from "../support/skip.ts";
import { assertImageMemory } from "./memory_model.ts";

const PAGE = 4096;
const pattern = new TestPattern(PATTERN);

/** One of the images: its number is added to the first byte of each page. */
class Reception implements AsyncDisposable {
  readonly pages: number;
  readonly path: string;
  readonly receiver: ImageReceiver;
  readonly #number: number;
  #source: HostileSource | undefined;

  constructor(directory: string, pool: ThreadPool, number: number, pages: number) {
    this.path = `${directory}/${number}`;
    this.receiver = new ImageReceiver({ path: this.path, pool });
    this.pages = pages;
    this.#number = number;
  }

  get source(): HostileSource {
    return this.#source!;
  }

  /** Has its source come as far as the pages. */
  async connect(): Promise<void> {
    this.#source = new HostileSource(await this.receiver.listen(LOOPBACK), { ram: this.pages });
    await this.source.connect();
    await this.source.switchOver();
    await this.source.hear(({ pongs }) => pongs.includes(4));
  }

  /** Encodes all pages, in any order. */
  encodePages(random: Random): void {
    const numbers = Array.from({ length: this.pages }, (_, page) => page);
    for (let left = numbers.length; left > 1; left--) {
      const other = random.below(left);
      [numbers[left - 1], numbers[other]] = [numbers[other]!, numbers[left - 1]!];
    }
    this.source.encodePages(numbers, this.#number);
  }

  async assertImage(): Promise<void> {
    await within(`image ${this.#number}`, this.receiver.finished);
    const memory = new Uint8Array(this.pages * PAGE);
    const words = new Int32Array(memory.buffer);
    for (let page = 0; page < this.pages; page++) {
      pattern.expectedPage(page, words, page * PAGE / 4);
      memory[page * PAGE]! += this.#number;
    }
    using image = await openImage(this.path);
    assertImageMemory(image, new Map([["ram", memory]]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#source?.[Symbol.dispose]();
    await this.receiver.close();
  }
}

/** Runs with a pool of one thread for images. */
function onOneThread(test: (pool: ThreadPool, directory: string) => Promise<void>) {
  return leavingNoDescriptors(() =>
    withDirectory(async (directory) => {
      await using pool = new ThreadPool({ urgentThreads: 1, bulkThreads: 1 });
      await test(pool, directory);
    })
  );
}

Deno.test(
  "ImageReceivers on one thread give each page of their own source, however the pieces alternate",
  onOneThread(async (pool, directory) => {
    const random = new Random(11);
    await using stack = new AsyncDisposableStack();
    const receptions = Array.from(
      { length: 8 },
      (_, index) => stack.use(new Reception(directory, pool, index + 1, random.between(1, 300))),
    );
    assertEquals(pool.threads, 0);
    await Promise.all(receptions.map((reception) => reception.connect()));
    assertEquals(pool.threads, 1);
    const left = receptions.map((reception) => {
      reception.encodePages(random);
      reception.source.encodeEnd();
      return reception.source.stream.take();
    });
    while (left.some((bytes) => bytes.length > 0)) {
      const index = random.below(left.length);
      // Cut anywhere: within a record, a page, a word.
      const length = random.oneIn(3) ? random.below(100) : random.below(60_000);
      await receptions[index]!.source.flush(left[index]!.slice(0, length));
      left[index] = left[index]!.subarray(length);
    }
    for (const reception of receptions) await reception.assertImage();
  }),
);

Deno.test(
  "ImageReceiver that fails or stands still keeps no other on its thread from its image",
  onOneThread(async (pool, directory) => {
    const random = new Random(12);
    await using standing = new Reception(directory, pool, 1, 64);
    await using hostile = new Reception(directory, pool, 2, 64);
    await using whole = new Reception(directory, pool, 3, 64);
    for (const reception of [standing, hostile, whole]) await reception.connect();
    standing.encodePages(random);
    await standing.source.flush(standing.source.stream.take().subarray(0, 50_000));
    await hostile.source.flush(new Uint8Array(100_000).fill(0xff));
    await until("the pause", () => hostile.receiver.status === "postcopy-paused");
    assertEquals(hostile.receiver.pauseReason?.code, "BAD_PEER");
    whole.encodePages(random);
    whole.source.encodeEnd();
    await whole.source.flush();
    await whole.assertImage();
    assertEquals([standing.receiver.status, pool.threads], ["postcopy-active", 1]);
  }),
);

testUnless(
  needsCommand("prlimit", "util-linux"),
  "ImageReceiver that cannot write keeps no other on its thread from its image, and loses nothing",
  onOneThread(async (pool, directory) => {
    const random = new Random(13);
    await using large = new Reception(directory, pool, 1, 64);
    await using small = new Reception(directory, pool, 2, 4);
    for (const reception of [large, small]) await reception.connect();
    const ignore = () => {};
    Deno.addSignalListener("SIGXFSZ", ignore);
    limitFiles((1 << 20) + 40_960); // pages begin at 1 MiB
    try {
      large.encodePages(random);
      large.source.encodeEnd();
      await large.source.flush();
      await until("the first image to wait", () => large.receiver.waitReason !== undefined);
      small.encodePages(random);
      small.source.encodeEnd();
      await small.source.flush();
      await small.assertImage();
      assertEquals(large.receiver.status, "postcopy-active");
    } finally {
      limitFiles("unlimited");
      Deno.removeSignalListener("SIGXFSZ", ignore);
    }
    await large.assertImage();
  }),
);
