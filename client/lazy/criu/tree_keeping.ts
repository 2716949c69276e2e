/** What a tree's server keeps for the next one, and what it has of the one before. */

import { closeDescriptor } from "../../../ffi/descriptors.ts";
import { errnoName, SyscallError } from "../../../ffi/errno.ts";
import { type FaultReader, UffdEvent } from "../../../ffi/fault_reader.ts";
import type { HeldInit } from "./criu_task.ts";
import type { ProcessMap } from "./process_map.ts";
import type { Segment } from "./segments.ts";
import { newFacts, renewRecord, type TreeFacts, TreeHistory } from "./tree_history.ts";
import { PouchKind, type TakenDescriptor, TreePouch } from "./tree_pouch.ts";
import { RecordKind, TreeRecord } from "./tree_record.ts";

/** Why nothing of a tree would outlive its server whose record is full. */
export const RECORD_FULL = "its map has more pieces than the record has room for";

/** The record and the pouch of a tree; neither where it is not held, and then nothing is kept. */
export class TreeKeeping {
  readonly record: TreeRecord | undefined;
  readonly facts: TreeFacts = newFacts();
  /** Of the server before: where the pages of its processes are. */
  readonly maps: readonly ProcessMap[] = [];
  readonly #pouch: TreePouch | undefined;
  #taken: TakenDescriptor[] = [];
  /** Why processes are not held, by their numbers. */
  readonly #unheld = new Map<number, string>();
  /** Processes that are over, and in the pouch still. */
  readonly #forgotten = new Set<number>();

  /** @param segmentsOf where the pages of a process were when it was dumped, by its number in the images */
  constructor(
    held: HeldInit | undefined,
    segmentsOf: (imageId: number) => readonly Omit<Segment, "epoch">[],
    renewAt?: number,
  ) {
    if (held === undefined) return;
    this.#taken = [...held.taken];
    this.record = new TreeRecord(held.record, renewAt);
    this.#pouch = new TreePouch(held.ends, held.items);
    const { facts, maps } = new TreeHistory(this.record, segmentsOf);
    this.facts = facts;
    this.maps = [...maps.values()];
  }

  /** Whether the next server would have a process. */
  holds(id: number): boolean {
    return this.record !== undefined && !this.record.full && !this.#unheld.has(id);
  }

  /** Why it would not, where it should. */
  whyNot(id: number): string | undefined {
    return this.#unheld.get(id);
  }

  /** Puts a descriptor where the next server finds it. */
  hold(kind: number, id: number, fd: number): void {
    const code = this.#pouch?.put(kind, id, fd) ?? 0;
    if (code === 0 || kind !== PouchKind.PROCESS) return; // the others can be done without
    this.#unheld.set(
      id,
      `its userfaultfd cannot be put into a socket: ${
        errnoName(code)
      }: raise ulimit -n and net.core.wmem_max, or ` +
        "start this as root",
    );
  }

  /** Before anything else is done: each moment more is one in which a kill loses them. */
  holdChildren(reader: FaultReader, count: number): void {
    let id = this.facts.nextId;
    for (let message = 0; message < count; message++) {
      if (reader.event(message) !== UffdEvent.FORK) continue;
      this.hold(PouchKind.PROCESS, id++, reader.forkedDescriptor(message));
    }
  }

  /** Takes out what the server before had; undefined: it had no such thing. */
  take(kind: number, id: number): number | undefined {
    const index = this.#taken.findIndex((item) => item.kind === kind && item.id === id);
    return index < 0 ? undefined : this.#taken.splice(index, 1)[0]!.fd;
  }

  /** Lets go of what nobody has taken out: it is of processes that are over. */
  dropRest(): void {
    for (const { kind, id, fd } of this.#taken.splice(0)) {
      closeDescriptor(fd);
      if (kind === PouchKind.CONNECTION) this.#pouch!.dropKind(kind);
      else this.#pouch!.dropProcess(id);
    }
  }

  /** CRIU has connected. */
  connected(fd: number): void {
    this.hold(PouchKind.CONNECTION, 0, fd);
    this.record?.append(RecordKind.CONNECTED, 0);
    this.facts.connected = true;
  }

  /** CRIU hands a process over; returns its number in the tree. */
  arrived(imageId: number, uffd: number): number {
    const { facts } = this;
    const id = facts.nextId;
    this.hold(PouchKind.PROCESS, id, uffd);
    this.record?.append(RecordKind.ARRIVED, id, imageId);
    facts.arrived.add(imageId);
    facts.nextId = id + 1;
    return id;
  }

  /** CRIU has said that all are restored. */
  restored(): void {
    this.facts.restored = true;
    this.record?.append(RecordKind.RESTORED, 0);
    this.#dropConnection();
  }

  /** CRIU left before it said so. */
  abandoned(): void {
    this.facts.abandoned = true;
    this.record?.append(RecordKind.ABANDONED, 0);
    this.#dropConnection();
  }

  #dropConnection(): void {
    try {
      this.#pouch?.dropKind(PouchKind.CONNECTION);
    } catch (error) {
      // No descriptor is left: it stays open, which nobody sees.
      if (!(error instanceof SyscallError)) throw error;
    }
  }

  /** A process is served by nobody: so it is said by each server from here on, as one may be killed before. */
  missed(map: ProcessMap): void {
    this.facts.missed.set(map.id, map.imageId);
    this.record?.append(RecordKind.MISSED, map.id, map.imageId);
    this.over(map);
  }

  /** A process is served no longer. */
  over(map: ProcessMap): void {
    this.record?.append(RecordKind.OVER, map.id);
    map.doubts.release();
  }

  /**
   * Nobody is to keep the userfaultfd of a process open that is over: its process would wait for a server. To be
   * called when it is closed here, for this takes the number of a descriptor.
   */
  forget(id: number): void {
    this.#unheld.delete(id);
    this.#forgotten.add(id);
    this.#dropForgotten();
  }

  #dropForgotten(): void {
    for (const forgotten of this.#forgotten) {
      try {
        for (const { kind, id } of this.#pouch?.dropProcess(forgotten) ?? []) {
          if (kind === PouchKind.PROCESS) {
            this.#unheld.set(id, "there is no room for its userfaultfd");
          }
        }
      } catch (error) {
        if (error instanceof SyscallError) return; // no descriptor is left now
        throw error;
      }
      this.#forgotten.delete(forgotten);
    }
  }

  /**
   * Keeps record and pouch short.
   *
   * @returns false when that cannot be done, and nothing of the tree would outlive this server
   */
  tidy(maps: () => ProcessMap[]): boolean {
    const { record } = this;
    if (this.#forgotten.size > 0) this.#dropForgotten();
    if (record === undefined) return true;
    if (record.isLong && !record.full) renewRecord(record, maps(), this.facts);
    return !record.full;
  }
}
