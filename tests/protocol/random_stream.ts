import type {
  BlockEntry,
  Command,
  Configuration,
  DiscardRange,
  RamHandler,
  ReturnPathHandler,
  StreamHandler,
} from "../../migration/protocol/mod.ts";
import type { Random } from "../support/random.ts";

/** A block or capability name as long as counted strings may be, with letters of several bytes. */
export function randomName(random: Random): string {
  const letters = ["a", "pc.ram", "/", ":", "0", "é", "☃", "\u{1f600}", "\ufeff"];
  let name = random.pick(letters);
  for (let more = random.below(random.oneIn(5) ? 60 : 6); more > 0; more--) {
    name += random.pick(letters);
  }
  return new TextEncoder().encode(name).length > 255 ? name.slice(0, 60) : name;
}

function randomNames(random: Random, count: number): string[] {
  const names = new Set<string>();
  while (names.size < count) names.add(randomName(random));
  return [...names];
}

function randomConfiguration(random: Random, capabilities: readonly string[]): Configuration {
  return {
    machine: `pc-q35-${random.below(100)}.${random.below(10)}`,
    ...(random.oneIn(2) ? { targetPageBits: random.pick([12, 12, 14, 16, 10]) } : {}),
    ...(capabilities.length > 0 ? { capabilities } : {}),
    ...(random.oneIn(3) ? { uuid: random.bytes(16) } : {}),
  };
}

export function randomCommand(random: Random, block: string): Command {
  const ranges: DiscardRange[] = [];
  for (let count = random.between(1, 12); count > 0; count--) {
    ranges.push({ start: random.below(2 ** 52), length: random.between(1, 2 ** 52 - 1) });
  }
  return random.pick<Command>([
    { kind: "open-return-path" },
    { kind: "ping", value: random.u32() },
    { kind: "advise" },
    {
      kind: "advise",
      ram: { pageSizeSummary: random.below(2 ** 53), targetPageSize: random.below(2 ** 53) },
    },
    { kind: "listen" },
    { kind: "run" },
    { kind: "discard", block, ranges },
    { kind: "enable-colo" },
    { kind: "resume" },
    { kind: "receive-bitmap", block },
    { kind: "switchover-start" },
    { kind: "extensions", names: ["zstd", block].slice(0, random.below(3)) },
    { kind: "absent-pages", block, runs: randomRuns(random) },
  ]);
}

/** Runs of pages, with numbers of every length. */
export function randomRuns(random: Random): number[] {
  const runs: number[] = [];
  for (let count = random.between(1, 30), page = 0; count > 0; count--) {
    const first = page + random.below(2 ** random.between(1, 35));
    page = first + random.between(1, 2 ** random.between(0, 35) - 1 || 1);
    runs.push(first, page - first);
  }
  return runs;
}

/** Page records of all kinds a channel allows, each block named before its first page. */
function randomPages(
  random: Random,
  handler: RamHandler,
  blocks: readonly string[],
  pageSize: number,
  preempt: boolean,
): void {
  if (!preempt && random.oneIn(2)) handler.multifdFlush();
  handler.block(random.pick(blocks));
  for (let count = random.below(12); count >= 0; count--) {
    const offset = random.below(random.oneIn(4) ? 2 ** 53 / pageSize : 1000) * pageSize;
    const at = random.below(100);
    const bytes = random.bytes(at + pageSize);
    const length = random.between(1, pageSize);
    switch (random.below(preempt ? 3 : 5)) {
      case 0:
        handler.zeroPage(offset, random.oneIn(2) ? 0 : random.below(256));
        break;
      case 3:
        handler.xbzrlePage(offset, bytes, at, length);
        break;
      case 4:
        handler.compressedPage(offset, bytes, at, length);
        break;
      default:
        handler.page(offset, bytes, at);
    }
    if (random.oneIn(3)) handler.block(random.pick(blocks));
  }
  // A name that no page follows is not in the bytes: always let one follow.
  handler.zeroPage(0, 0);
}

/** The events of a preempt channel. */
export function driveRandomPreempt(random: Random, handler: RamHandler): void {
  const blocks = randomNames(random, random.between(1, 4));
  for (let count = random.between(1, 4); count > 0; count--) {
    randomPages(random, handler, blocks, 4096, true);
    if (random.oneIn(3)) handler.endOfSection();
  }
}

/**
 * The events of a whole main channel, with every kind of element and record.
 *
 * @param position Bytes encoded so far, which mapped-ram's absolute offsets depend on.
 */
export function driveRandomStream(
  random: Random,
  handler: StreamHandler,
  position: () => number,
): void {
  const capabilities = random.pick([
    [],
    [],
    ["x-ignore-shared"],
    ["mapped-ram"],
    ["x-ignore-shared", "mapped-ram"],
  ]);
  handler.header();
  let pageSize = 4096;
  if (capabilities.length > 0 || !random.oneIn(4)) {
    const configuration = randomConfiguration(random, capabilities);
    handler.configuration(configuration);
    pageSize = 2 ** (configuration.targetPageBits ?? 12);
  }
  const blocks = randomNames(random, random.between(1, 5));
  const commands = () => {
    for (let count = random.below(4); count > 0; count--) {
      handler.command(randomCommand(random, random.pick(blocks)));
    }
  };
  commands();
  const id = random.u32();
  handler.sectionStart(id, "ram", random.u32(), 4);
  randomBlockList(random, handler, blocks, pageSize, capabilities, position);
  if (random.oneIn(2)) handler.multifdFlush();
  handler.endOfSection();
  handler.sectionFooter(id);
  for (let count = random.below(4); count > 0; count--) {
    commands();
    handler.sectionPart(id);
    if (!random.oneIn(3)) randomPages(random, handler, blocks, pageSize, false);
    handler.endOfSection();
    handler.sectionFooter(id);
  }
  if (random.oneIn(2)) {
    const content = random.bytes(random.below(3000));
    handler.packaged(content.length);
    if (content.length > 0) handler.packagedData(content, 0, content.length);
    commands();
  }
  handler.sectionEnd(id);
  handler.endOfSection();
  handler.sectionFooter(id);
  commands();
  randomEnd(random, handler);
}

function randomBlockList(
  random: Random,
  handler: StreamHandler,
  blocks: readonly string[],
  pageSize: number,
  capabilities: readonly string[],
  position: () => number,
): void {
  const lengths = blocks.map(() => random.between(1, 3) * pageSize);
  handler.blockList(lengths.reduce((sum, length) => sum + length, 0));
  for (const [i, name] of blocks.entries()) {
    let entry: BlockEntry = { name, usedLength: lengths[i]! };
    if (capabilities.length === 0 && random.oneIn(2)) {
      entry = { ...entry, pageSize: random.pick([0x1_0000, 0x20_0000, 0x4000_0000]) };
    }
    if (capabilities.includes("x-ignore-shared")) {
      entry = { ...entry, guestPhysicalAddress: random.below(2 ** 36) * pageSize };
    }
    if (!capabilities.includes("mapped-ram")) {
      handler.blockEntry(entry);
      continue;
    }
    const head = 1 + new TextEncoder().encode(name).length + 8 + 28 +
      (entry.guestPhysicalAddress === undefined ? 0 : 8);
    const bitmapOffset = position() + head + random.below(20);
    const bitmapBytes = Math.ceil(lengths[i]! / pageSize / 64) * 8;
    const pagesOffset = bitmapOffset + bitmapBytes + random.below(1000);
    const region = random.bytes(pagesOffset + lengths[i]! - position() - head);
    handler.blockEntry({ ...entry, mapped: { version: 1, pageSize, bitmapOffset, pagesOffset } });
    handler.mappedRegion(region, 0, region.length);
  }
}

function randomEnd(random: Random, handler: StreamHandler): void {
  const content = random.bytes(random.between(1, 5000));
  if (random.oneIn(3)) {
    // The first byte makes it a device's section; the rest is opaque.
    content[0] = 0x04;
    handler.deviceState(content, 0, content.length);
    return;
  }
  if (random.oneIn(3)) return;
  handler.endOfStream();
  if (random.oneIn(2)) return;
  handler.vmDescription(content.length);
  handler.vmDescriptionData(content, 0, content.length);
}

/** The messages of a return path. */
export function driveRandomReturnPath(random: Random, handler: ReturnPathHandler): void {
  const blocks = randomNames(random, random.between(1, 5));
  for (let count = random.between(1, 40); count > 0; count--) {
    const block = random.pick(blocks);
    switch (random.below(8)) {
      case 0:
        handler.pong(random.u32());
        break;
      case 1:
        handler.resumeAck(random.u32());
        break;
      case 2:
        handler.switchoverAck();
        break;
      case 3: {
        const bitmap = random.bytes(random.below(200) * 8);
        handler.receivedBitmap(block, bitmap.length);
        if (bitmap.length > 0) handler.receivedBitmapData(bitmap, 0, bitmap.length);
        handler.receivedBitmapEnd();
        break;
      }
      case 4:
        handler.extensions(["zstd", block].slice(0, random.below(3)));
        break;
      default:
        handler.requestPages(block, random.below(2 ** 52), random.between(1, 0xffff_ffff));
    }
  }
  if (random.oneIn(2)) handler.shut(random.u32());
}
