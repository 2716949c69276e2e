/** What a record tells, against what was true: a tree at random, killed at any moment. */

import "../../support/native.ts";
import { assertEquals } from "@std/assert";
import { UffdEvent } from "../../../ffi/fault_reader.ts";
import { MESSAGE_BYTES } from "../../../ffi/fault_reader.ts";
import { writePair } from "../../../ffi/word_pairs.ts";
import { ProcessMap } from "../../../client/lazy/criu/process_map.ts";
import {
  newFacts,
  renewRecord,
  type TreeFacts,
  TreeHistory,
} from "../../../client/lazy/criu/tree_history.ts";
import { newTreeRecord, RecordKind, TreeRecord } from "../../../client/lazy/criu/tree_record.ts";
import { Random } from "../../support/random.ts";

const PAGE = 4096;
const SEGMENTS = [
  { address: 0, pages: 64, firstPage: 0 },
  { address: 100 * PAGE, pages: 64, firstPage: 64 },
];

/** All that is known, in a form that can be compared. */
function told(maps: Iterable<ProcessMap>, facts: TreeFacts): unknown {
  const all = [...maps];
  return {
    facts: { ...facts, arrived: [...facts.arrived].sort() },
    maps: all.map(({ id, imageId, addresses, doubts }) => ({
      id,
      imageId,
      state: addresses.state,
      known: doubts.known,
      moves: doubts.moves,
      children: doubts.children.map((child) => all.find((map) => map.doubts === child)?.id)
        .filter((child) => child !== undefined),
    })),
  };
}

/** A tree whose processes do things at random, as a server hears of them. */
class RandomTree {
  readonly maps = new Map<number, ProcessMap>();
  readonly facts = newFacts();
  readonly #random: Random;
  readonly #record: TreeRecord;

  constructor(random: Random, record: TreeRecord) {
    this.#random = random;
    this.#record = record;
  }

  arrive(imageId: number): void {
    const id = this.facts.nextId++;
    this.#record.append(RecordKind.ARRIVED, id, imageId);
    this.facts.arrived.add(imageId);
    this.maps.set(id, new ProcessMap(id, imageId, SEGMENTS));
  }

  act(): void {
    const random = this.#random;
    const all = [...this.maps.values()];
    const map = all[random.below(all.length)]!;
    const [from, to] = [random.below(200) * PAGE, random.below(200) * PAGE];
    const length = (1 + random.below(20)) * PAGE;
    switch (random.below(9)) {
      case 0:
      case 1:
        return this.#message(map, UffdEvent.REMAP, from, to, length);
      case 2:
      case 3:
        return this.#message(map, UffdEvent.UNMAP, from, from + length, 0);
      case 4:
        return this.#message(map, UffdEvent.REMOVE, from, from + length, 0);
      case 5: {
        if (this.maps.size > 6) return;
        this.#record.append(UffdEvent.FORK, map.id, 77);
        const child = this.facts.nextId++;
        this.maps.set(child, map.fork(child));
        return;
      }
      case 6:
        if (this.maps.size < 3) return;
        this.#record.append(RecordKind.OVER, map.id);
        map.doubts.release();
        this.maps.delete(map.id);
        return;
      default: {
        // Now and again a message is on its way, and the kernel says nothing.
        const isMapped = () => random.below(8) === 0 ? undefined : random.below(3) > 0;
        map.settle({ isQuiet: () => true, isMapped }, this.#record);
      }
    }
  }

  #message(map: ProcessMap, event: number, start: number, end: number, length: number): void {
    this.#record.append(event, map.id, start, end, length);
    map.apply(event, start, end, length);
  }
}

for (const renewAt of [Infinity, 16]) {
  Deno.test(`TreeRecord tells of a tree all that was known of it, written anew behind ${renewAt} entries`, () => {
    using memory = newTreeRecord();
    const random = new Random(11);
    const record = new TreeRecord(memory.address, renewAt);
    const tree = new RandomTree(random, record);
    for (const imageId of [700, 12, 40]) tree.arrive(imageId);
    for (let step = 0; step < 3000; step++) {
      tree.act();
      if (record.isLong) renewRecord(record, [...tree.maps.values()], tree.facts);
      if (step % 50 !== 0) continue;
      const history = new TreeHistory(new TreeRecord(memory.address), () => SEGMENTS);
      const byId = [...history.maps.values()].sort((one, other) => one.id - other.id);
      const right = [...tree.maps.values()].sort((one, other) => one.id - other.id);
      assertEquals(told(byId, history.facts), told(right, tree.facts), `step ${step}`);
    }
  });
}

Deno.test("TreeRecord enters what was read and not entered, each message once", () => {
  const REMOVE = (page: number) => [UffdEvent.REMOVE, page * PAGE, (page + 1) * PAGE];
  const FAULT = [UffdEvent.PAGEFAULT, 0, 0];
  const messages = [REMOVE(1), FAULT, REMOVE(2), FAULT, REMOVE(3)];
  for (let entered = 0; entered <= 3; entered++) {
    using memory = newTreeRecord();
    const record = new TreeRecord(memory.address);
    record.append(RecordKind.ARRIVED, 0, 700);
    record.beforeRead(0);
    // As the kernel writes them.
    const stage = new Uint32Array(memory.bytes(4096, 64 * MESSAGE_BYTES).buffer);
    messages.forEach(([event, start, end], index) => {
      writePair(stage, index * 8 + 2, start!);
      writePair(stage, index * 8 + 4, end!);
      stage[index * 8] = event!;
    });
    const removals = messages.filter(([event]) => event === UffdEvent.REMOVE);
    for (const [event, start, end] of removals.slice(0, entered)) {
      record.append(event!, 0, start, end);
    }
    for (let times = 0; times < 2; times++) { // the next one is killed, too
      const next = new TreeRecord(memory.address);
      const pages: number[] = [];
      next.each((kind, _, start) => kind === UffdEvent.REMOVE && pages.push(start / PAGE));
      assertEquals(pages, [1, 2, 3], `${entered} entered`);
    }
  }
});

Deno.test("TreeRecord that was being written anew is the one before", () => {
  using memory = newTreeRecord();
  const record = new TreeRecord(memory.address, 4);
  for (let entry = 0; entry < 5; entry++) record.append(RecordKind.ARRIVED, entry, 700 + entry);
  try {
    record.renew(() => {
      record.append(RecordKind.NEXT, 0, 5);
      throw new Error("Killed by the test");
    });
  } catch {
    // As it is left.
  }
  const { facts, maps } = new TreeHistory(new TreeRecord(memory.address), () => SEGMENTS);
  assertEquals([facts.nextId, maps.size], [5, 5]);
  const next = new TreeRecord(memory.address, 4);
  renewRecord(next, [...maps.values()], facts);
  const again = new TreeHistory(new TreeRecord(memory.address), () => SEGMENTS);
  assertEquals(told(again.maps.values(), again.facts), told(maps.values(), facts));
});
