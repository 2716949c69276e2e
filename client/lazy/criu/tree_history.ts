/** What a record tells of a process tree: which processes there are, and where the pages of each. */

import { UffdEvent } from "../../../ffi/fault_reader.ts";
import type { MapState, Range } from "./address_map.ts";
import type { ForkDoubts } from "./fork_doubts.ts";
import { ProcessMap } from "./process_map.ts";
import type { Segment } from "./segments.ts";
import { RecordKind, type TreeRecord } from "./tree_record.ts";

/** What is known of a tree beside its processes. */
export interface TreeFacts {
  /** Number of the next process. */
  nextId: number;
  /** Processes that CRIU has handed over, by their numbers in the images: also such as are gone. */
  readonly arrived: Set<number>;
  connected: boolean;
  restored: boolean;
  abandoned: boolean;
  /** Processes that nobody serves, by their numbers in the tree: theirs in the images, of a child its parent's. */
  readonly missed: Map<number, number>;
}

/** Nothing has happened. */
export function newFacts(): TreeFacts {
  return {
    nextId: 0,
    arrived: new Set(),
    connected: false,
    restored: false,
    abandoned: false,
    missed: new Map(),
  };
}

/** The map of a process that was written down as it was. */
interface Written {
  readonly imageId: number;
  readonly settled: boolean;
  readonly segments: (Omit<Segment, "epoch"> & { readonly fresh: boolean })[];
  readonly displaced: Omit<Segment, "epoch">[];
  readonly doubtful: Range[];
}

/** A tree as a record tells it. */
export class TreeHistory {
  readonly facts: TreeFacts = newFacts();
  /** Of the processes that are served, by their numbers in the tree. */
  readonly maps = new Map<number, ProcessMap>();
  readonly #written = new Map<number, Written>();
  readonly #segmentsOf: (imageId: number) => readonly Omit<Segment, "epoch">[];

  /** @param segmentsOf where the pages of a process were when it was dumped, by its number in the images */
  constructor(
    record: TreeRecord,
    segmentsOf: (imageId: number) => readonly Omit<Segment, "epoch">[],
  ) {
    this.#segmentsOf = segmentsOf;
    record.each((...entry) => this.#hear(...entry));
    this.#makeWritten();
  }

  #hear(kind: number, id: number, a: number, b: number, c: number): void {
    const { facts } = this;
    if (kind >= RecordKind.NEXT) return this.#read(kind, id, a, b, c);
    this.#makeWritten();
    switch (kind) {
      case RecordKind.CONNECTED:
        facts.connected = true;
        return;
      case RecordKind.RESTORED:
        facts.restored = true;
        return;
      case RecordKind.ABANDONED:
        facts.abandoned = true;
        return;
      case RecordKind.MISSED:
        return void facts.missed.set(id, a);
      case RecordKind.ARRIVED:
        facts.arrived.add(a);
        this.maps.set(id, new ProcessMap(id, a, this.#segmentsOf(a)));
        facts.nextId = id + 1;
        return;
      case UffdEvent.FORK: {
        const child = facts.nextId++;
        this.maps.set(child, this.#map(id).fork(child));
        return;
      }
      case RecordKind.JUDGED:
        return this.#map(id).judge(a === 1);
      case RecordKind.GONE:
        return void this.#map(id).addresses.remove(a, b);
      case RecordKind.SETTLED:
        return this.#map(id).becomeSettled();
      case RecordKind.OVER:
        this.#map(id).doubts.release();
        this.maps.delete(id);
        return;
      default:
        this.#map(id).apply(kind, a, b, c);
    }
  }

  #map(id: number): ProcessMap {
    const map = this.maps.get(id);
    if (map === undefined) throw new Error(`Record of a tree without its process: ${id}`);
    return map;
  }

  /** What a record that was written anew begins with. */
  #read(kind: number, id: number, a: number, b: number, c: number): void {
    const written = this.#written.get(id)!;
    const segment = { address: a, pages: b, firstPage: c };
    switch (kind) {
      case RecordKind.NEXT:
        this.facts.nextId = a;
        return;
      case RecordKind.SEEN:
        return void this.facts.arrived.add(a);
      case RecordKind.PROCESS:
        return void this.#written.set(id, {
          ...{ imageId: a, settled: b === 1 },
          ...{ segments: [], displaced: [], doubtful: [] },
        });
      case RecordKind.SEGMENT:
        return void written.segments.push({ ...segment, fresh: false });
      case RecordKind.FRESH_SEGMENT:
        return void written.segments.push({ ...segment, fresh: true });
      case RecordKind.DISPLACED:
        return void written.displaced.push(segment);
      case RecordKind.DOUBTFUL:
        return void written.doubtful.push({ start: a, end: b });
      case RecordKind.MOVE:
        this.#makeWritten();
        return this.#map(id).doubts.doubt({ from: a, to: b, length: c });
      case RecordKind.CHILD:
        this.#makeWritten();
        return this.#map(id).doubts.forked(this.#map(a).doubts);
    }
  }

  #makeWritten(): void {
    for (const [id, { imageId, ...state }] of this.#written) {
      this.maps.set(id, new ProcessMap(id, imageId, state));
    }
    this.#written.clear();
  }
}

/** Writes a record anew. */
export function renewRecord(
  record: TreeRecord,
  maps: readonly ProcessMap[],
  facts: TreeFacts,
): void {
  record.renew(() => {
    record.append(RecordKind.NEXT, 0, facts.nextId);
    for (const map of maps) writeMap(record, map, map.addresses.state);
    const ids = new Map<ForkDoubts, number>(maps.map(({ doubts, id }) => [doubts, id]));
    for (const { id, doubts } of maps) {
      for (const child of doubts.children) {
        const number = ids.get(child);
        if (number !== undefined) record.append(RecordKind.CHILD, id, number);
      }
      for (const { from, to, length } of doubts.moves) {
        record.append(RecordKind.MOVE, id, from, to, length);
      }
    }
    writeFacts(record, facts);
  });
}

function writeMap(record: TreeRecord, { id, imageId }: ProcessMap, state: MapState): void {
  record.append(RecordKind.PROCESS, id, imageId, state.settled ? 1 : 0);
  for (const { address, pages, firstPage, fresh } of state.segments) {
    const kind = fresh ? RecordKind.FRESH_SEGMENT : RecordKind.SEGMENT;
    record.append(kind, id, address, pages, firstPage);
  }
  for (const { address, pages, firstPage } of state.displaced) {
    record.append(RecordKind.DISPLACED, id, address, pages, firstPage);
  }
  for (const { start, end } of state.doubtful) record.append(RecordKind.DOUBTFUL, id, start, end);
}

function writeFacts(record: TreeRecord, facts: TreeFacts): void {
  for (const imageId of facts.arrived) record.append(RecordKind.SEEN, 0, imageId);
  if (facts.connected) record.append(RecordKind.CONNECTED, 0);
  if (facts.restored) record.append(RecordKind.RESTORED, 0);
  if (facts.abandoned) record.append(RecordKind.ABANDONED, 0);
  for (const [id, imageId] of facts.missed) record.append(RecordKind.MISSED, id, imageId);
}
