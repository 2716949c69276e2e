/** Sources that are cut off at random bytes of either channel, also while they resume. */
import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { openImage } from "../../image/open_image.ts";
import { TestPattern } from "../../workload/test_pattern.ts";
import { PATTERN } from "../hostile/scripted_source.ts";
import { withDirectory } from "../image/captures.ts";
import { until } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { assertImageMemory } from "./memory_model.ts";
import { ResumingSource } from "./resuming_source.ts";

const BLOCKS = { ram: 200, rom: 33 };
const TOTAL = BLOCKS.ram + BLOCKS.rom;
const EVERY: readonly number[] = Array.from({ length: TOTAL }, (_, page) => page);

/** Shuffles pages. */
function shuffled(random: Random, pages: readonly number[]): number[] {
  const mixed = [...pages];
  for (let left = mixed.length; left > 1; left--) {
    const other = random.below(left);
    [mixed[left - 1], mixed[other]] = [mixed[other]!, mixed[left - 1]!];
  }
  return mixed;
}

/** Sends pages on both channels, up to a random byte of each, and breaks one or both connections. */
async function sendAndBreak(random: Random, source: ResumingSource, pages: readonly number[]) {
  const mixed = shuffled(random, pages);
  const urgent = mixed.slice(0, random.below(mixed.length + 1));
  const rest = mixed.slice(urgent.length);
  for (let at = 0; at < rest.length; at += 20) source.encodePages(rest.slice(at, at + 20));
  if (random.oneIn(3)) source.encodeEnd();
  const preempt = await source.connectPreempt();
  source.encodeUrgent(urgent);
  const records = source.records.take();
  const stream = source.stream.take();
  await source.flushPreempt(records.subarray(0, random.below(records.length + 1)));
  await source.flush(stream.subarray(0, random.below(stream.length + 1)));
  if (random.oneIn(3)) source.main.shutdown();
  else if (random.oneIn(2)) source[Symbol.dispose]();
  else {
    preempt.close();
    // Whether the receiver knew that this was the preempt channel depends on what it has said.
    source.main.close();
  }
}

/** Whether a receiver is paused; false when the last byte had come before the break. */
async function broken(receiver: ImageReceiver): Promise<boolean> {
  const states = ["postcopy-paused", "completed"];
  await until("the break", () => states.includes(receiver.status));
  return receiver.status !== "completed";
}

async function recoversFrom(seed: number, to: SocketAddress, receiver: ImageReceiver) {
  const random = new Random(seed);
  let known = 0;
  {
    using source = new ResumingSource(to, BLOCKS);
    await source.connectAndSwitch();
    await source.listen(({ pongs }) => pongs.includes(4));
    await sendAndBreak(random, source, EVERY);
  }
  for (let attempt = random.below(6); attempt >= 0; attempt--) {
    if (!await broken(receiver)) return;
    using source = new ResumingSource(to, BLOCKS);
    await source.connect();
    const early = random.oneIn(2);
    if (early) await source.connectPreempt();
    if (attempt > 0 && random.oneIn(4)) {
      source.encodeRecovery();
      const asked = source.stream.take();
      await source.flush(asked.subarray(0, random.below(asked.length)));
      continue; // it breaks in the midst of the questions
    }
    assert(await source.ask());
    const missing = source.missing();
    // What the receiver has once said that it has stays.
    assert(TOTAL - missing.length >= known, `${TOTAL - missing.length} of ${known} pages`);
    known = TOTAL - missing.length;
    if (attempt > 0 && random.oneIn(4)) continue; // before it resumes
    assert(await source.resume());
    if (attempt > 0) {
      await sendAndBreak(random, source, missing);
      continue;
    }
    await source.sendLast(shuffled(random, missing));
    await source.listen(({ shuts }) => shuts.length > 0);
    assertEquals(source.heard.shuts, [0]);
  }
}

for (let seed = 1; seed <= 20; seed++) {
  Deno.test(
    `ImageReceiver has every page right whatever breaks when, seed ${seed}`,
    leavingNoDescriptors(() =>
      withDirectory(async (directory) => {
        const path = `${directory}/image`;
        await using receiver = new ImageReceiver({ path });
        const to = await receiver.listen(LOOPBACK);
        await recoversFrom(seed, to, receiver);
        await receiver.finished;
        const { received, remaining, duplicates } = receiver.statistics();
        assertEquals([received, remaining, duplicates], [TOTAL, 0, 0]);
        using image = await openImage(path);
        assertImageMemory(image, patternOf(BLOCKS));
      })
    ),
  );
}

/** What the memory of a scripted source must be. */
function patternOf(blocks: Readonly<Record<string, number>>): Map<string, Uint8Array> {
  const pattern = new TestPattern(PATTERN);
  const memory = new Map<string, Uint8Array>();
  let first = 0;
  for (const [name, pages] of Object.entries(blocks)) {
    const bytes = new Uint8Array(pages * 4096);
    const words = new Int32Array(bytes.buffer);
    for (let page = 0; page < pages; page++) {
      if (!pattern.isZero(first + page)) pattern.expectedPage(first + page, words, page * 1024);
    }
    memory.set(name, bytes);
    first += pages;
  }
  return memory;
}
