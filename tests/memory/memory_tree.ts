/** Short forms for tests of memory regions. */

import type { FlatView } from "../../migration/address_space/flat_view.ts";
import type { FlatEvent, FlatRange } from "../../migration/address_space/flat_view.ts";
import type { MemoryCore } from "../../migration/address_space/memory_core.ts";
import type { MemoryListener } from "../../migration/address_space/memory_listener.ts";
import { MemoryRegion } from "../../migration/address_space/memory_region.ts";

/** Makes regions of one machine. */
export function maker(core: MemoryCore) {
  return {
    container: (name: string, size: number) => MemoryRegion.container(core, name, size),
    ram: (name: string, size: number) => MemoryRegion.ram(core, name, size, { block: name }),
    io: (name: string, size: number) => MemoryRegion.io(core, name, size),
    alias: (name: string, target: MemoryRegion, offset: number, size: number) =>
      MemoryRegion.alias(core, name, target, offset, size),
  };
}

/** A range as text: `start+length name@offset`. */
export function rangeText({ start, length, region, offset }: FlatRange): string {
  return `${start}+${length} ${region.name}@${offset}`;
}

/** A view's ranges as text. */
export function viewText(view: FlatView): string[] {
  return view.ranges.map(rangeText);
}

/** A listener that writes its calls down. */
export class WritingListener implements MemoryListener {
  /** What was called, since it was last taken. */
  #calls: string[] = [];

  /** Returns the calls since the last time. */
  take(): string[] {
    const calls = this.#calls;
    this.#calls = [];
    return calls;
  }

  begin(): void {
    this.#calls.push("begin");
  }
  eventDel(event: FlatEvent): void {
    this.#calls.push(`eventDel ${eventText(event)}`);
  }
  regionDel(range: FlatRange): void {
    this.#calls.push(`del ${rangeText(range)}`);
  }
  regionAdd(range: FlatRange): void {
    this.#calls.push(`add ${rangeText(range)}`);
  }
  regionNop(range: FlatRange): void {
    this.#calls.push(`nop ${rangeText(range)}`);
  }
  eventAdd(event: FlatEvent): void {
    this.#calls.push(`eventAdd ${eventText(event)}`);
  }
  commit(): void {
    this.#calls.push("commit");
  }
}

function eventText({ address, size, value }: FlatEvent): string {
  return `${address}/${size}${value === undefined ? "" : `=${value}`}`;
}
