/** A receiver, a source that does what a test tells it, and what became of both. */

import { assertEquals } from "@std/assert";
import { ImageReceiver, type ImageReceiverOptions } from "../../client/receive/image_receiver.ts";
import type { MigrationError } from "../../migration/migration_error.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { TestPattern } from "../../workload/test_pattern.ts";
import { openImage } from "../../image/open_image.ts";
import { HostileSource, PATTERN } from "../hostile/scripted_source.ts";
import { withDirectory } from "../image/captures.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { assertImageMemory } from "./memory_model.ts";

/** Pages of the scripted source's one block. */
export const PAGES = 64;
/** All their numbers. */
export const ALL: readonly number[] = Array.from({ length: PAGES }, (_, page) => page);

/** One migration between a scripted source and a receiver. */
export class Reception {
  readonly source: HostileSource;
  readonly receiver: ImageReceiver;
  /** The image's name. */
  readonly path: string;
  /** Where the receiver listens. */
  readonly to: SocketAddress;

  constructor(path: string, receiver: ImageReceiver, to: SocketAddress, source: HostileSource) {
    this.path = path;
    this.to = to;
    this.receiver = receiver;
    this.source = source;
  }

  /** Waits for the image. */
  async completes(): Promise<void> {
    await within("the image", this.receiver.finished);
  }

  /** Connects, and encodes the start of a stream; a source that listens opens the return path. */
  async begins(listens: boolean): Promise<void> {
    const { source } = this;
    await source.connect();
    source.stream.header();
    source.stream.configuration({ machine: "postcopy-workload" });
    if (listens) source.stream.command({ kind: "open-return-path" });
    source.encodeBlocks();
  }

  /** Sends what was encoded, and waits until the source is told that it is not taken. */
  async isRefused(): Promise<void> {
    await this.source.flush();
    await this.source.hear(({ shuts }) => shuts.length > 0);
    assertEquals(this.source.heard.shuts, [1]);
  }

  /**
   * Waits for the image, and compares it.
   *
   * @param zero see {@linkcode Reception.assertImage}
   */
  async makesImage(zero?: readonly number[]): Promise<void> {
    await this.completes();
    await this.assertImage(zero);
  }

  /** Waits for the failure and returns it. */
  async fails(): Promise<Error & { readonly code: string }> {
    const failed = this.receiver.finished.then(
      () => Promise.reject(new Error("It completed")),
      (error) => error,
    );
    return await within("the failure", failed);
  }

  /** Waits for a pause, which is no failure: the source may come again. Returns why. */
  async pauses(): Promise<MigrationError> {
    await until("the pause", () => this.receiver.status === "postcopy-paused");
    return this.receiver.pauseReason!;
  }

  /**
   * Waits for the next pause: this thread may not have heard yet that the one before is over.
   *
   * @param before why it was paused then
   */
  async pausesAgain(before: MigrationError): Promise<MigrationError> {
    await until("another pause", () => ![undefined, before].includes(this.receiver.pauseReason));
    return await this.pauses();
  }

  /** Names of the files in the image's directory. */
  get files(): string[] {
    const directory = this.path.slice(0, this.path.lastIndexOf("/"));
    return [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
  }

  /**
   * Compares the image with the pattern.
   *
   * @param zero pages that are zero in place of what the pattern says
   */
  async assertImage(zero: readonly number[] = []): Promise<void> {
    await assertPatternImage(this.path, zero);
  }
}

/** Compares an image with the pattern, see {@linkcode Reception.assertImage}. */
export async function assertPatternImage(
  path: string,
  zero: readonly number[] = [],
): Promise<void> {
  using image = await openImage(path);
  const pattern = new TestPattern(PATTERN);
  const memory = new Uint8Array(PAGES * 4096);
  const words = new Int32Array(memory.buffer);
  for (const page of ALL) {
    if (!zero.includes(page) && !pattern.isZero(page)) {
      pattern.expectedPage(page, words, page * 1024);
    }
  }
  assertImageMemory(image, new Map([["ram", memory]]));
}

/** Runs a test with a receiver that listens and a source that has not connected yet. */
export function receiving(
  test: (reception: Reception) => Promise<void>,
  options: Partial<ImageReceiverOptions> = {},
): () => Promise<void> {
  return leavingNoDescriptors(() =>
    withDirectory(async (directory) => {
      const path = options.path ?? `${directory}/image`;
      await using receiver = new ImageReceiver({ ...options, path });
      const to = await receiver.listen(LOOPBACK);
      using source = new HostileSource(to, { ram: PAGES });
      await test(new Reception(path, receiver, to, source));
    })
  );
}

/** Compares some of a receiver's figures. */
export function assertFigures(receiver: ImageReceiver, figures: Record<string, unknown>): void {
  const found: Record<string, unknown> = { ...receiver.statistics() };
  assertEquals(Object.fromEntries(Object.keys(figures).map((key) => [key, found[key]])), figures);
}
