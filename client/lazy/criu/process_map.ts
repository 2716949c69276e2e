/** Where the pages of one process are that it was dumped with, as its messages and the kernel tell it. */

import { UffdEvent } from "../../../ffi/fault_reader.ts";
import { AddressMap, type IsMapped, type MapState } from "./address_map.ts";
import { ForkDoubts } from "./fork_doubts.ts";
import type { Segment } from "./segments.ts";
import { RecordKind, type TreeRecord } from "./tree_record.ts";

/** Who asks the kernel. */
export interface MapAsker {
  /** Whether no message is on its way. */
  isQuiet(): boolean;
  readonly isMapped: IsMapped;
}

/**
 * A process's map, and what forks leave in doubt. It follows from where the pages were dumped, from the messages
 * in their order, and from what the kernel said when it was asked: a record of these makes the same map again.
 */
export class ProcessMap {
  readonly id: number;
  /** Its number in the images; of a child that of the process it was forked from. */
  readonly imageId: number;
  readonly addresses: AddressMap;
  readonly doubts = new ForkDoubts();
  readonly #move = (from: number, to: number, length: number): void => {
    this.addresses.move(from, to, length);
    this.doubts.moved(from, to, length);
  };

  constructor(id: number, imageId: number, segments: readonly Omit<Segment, "epoch">[] | MapState) {
    this.id = id;
    this.imageId = imageId;
    this.addresses = "segments" in segments ? AddressMap.of(segments) : new AddressMap(segments);
  }

  /**
   * Has a message of it known.
   *
   * @param event one of `UffdEvent`
   * @param start of the range; of one that was moved where it was
   * @param end of the range; of one that was moved the first byte where it is
   * @param length of one that was moved
   * @returns pages that are sure to be gone
   */
  apply(event: number, start: number, end: number, length: number): number {
    switch (event) {
      case UffdEvent.REMOVE:
        return this.addresses.remove(start, end);
      case UffdEvent.UNMAP:
        return this.addresses.unmap(start, end);
      case UffdEvent.REMAP:
        this.#move(start, end, length);
    }
    return 0;
  }

  /** Makes the map of a child that it has forked. */
  fork(id: number): ProcessMap {
    const child = new ProcessMap(id, this.imageId, this.addresses.segments);
    this.doubts.forked(child.doubts);
    return child;
  }

  /**
   * Sees that what is known is sure; to be called when all messages were read.
   *
   * @param record where it is kept what the kernel says
   * @returns false when the kernel cannot say it now
   */
  settle(asker: MapAsker, record: TreeRecord | undefined): boolean {
    const { addresses, doubts, id } = this;
    if (addresses.settled && doubts.settled) return true;
    const { isMapped } = asker;
    // Told page by page: kept as few ranges.
    let [start, end] = [0, 0];
    const keep = () => end > start && record?.append(RecordKind.GONE, id, start, end);
    const gone = (from: number, to: number) => {
      if (from !== end) {
        keep();
        start = from;
      }
      end = to;
    };
    const sure = doubts.known && asker.isQuiet() &&
      doubts.settle(
        isMapped,
        this.#move,
        (mapped) => record?.append(RecordKind.JUDGED, id, mapped ? 1 : 0),
      ) &&
      addresses.settle(isMapped, gone);
    keep();
    if (!sure) return false;
    record?.append(RecordKind.SETTLED, id);
    this.doubts.release();
    return true;
  }

  /** Of a child: what was moved before its fork, as the kernel has said. */
  judge(mapped: boolean): void {
    this.doubts.judge(mapped, this.#move);
  }

  /** All is sure, as the kernel has said. */
  becomeSettled(): void {
    this.addresses.becomeSettled();
    this.doubts.release();
  }
}
