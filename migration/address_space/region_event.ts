/** I/O events of a region, and where address spaces show them. */

import type { FlatEvent, FlatRange } from "./flat_view.ts";
import { MemoryRegionError } from "./memory_region_error.ts";

/** A write to a region that somebody wants to be told of without a trap to the device (KVM's ioeventfd). */
export interface RegionEvent {
  /** Where in the region, in bytes. */
  readonly offset: number;
  /** Bytes of the write: 1, 2, 4 or 8. */
  readonly size: number;
  /** The value that must be written; without it any will do. */
  readonly value?: number | undefined;
  /** What the event belongs to; two events are the same only when their keys are. */
  readonly key: object;
}

interface Owner {
  readonly name: string;
  readonly kind: string;
  readonly size: number;
}

/**
 * Adds an event to those of a region.
 *
 * @throws {MemoryRegionError} for a region that is no I/O, and an event that cannot be or is there
 */
export function addEvent(events: RegionEvent[], event: RegionEvent, owner: Owner): void {
  const { offset, size, value } = event;
  if (owner.kind !== "io") throw badEvent(owner, `is in no I/O region: ${owner.kind}`);
  if (size !== 1 && size !== 2 && size !== 4 && size !== 8) {
    throw badEvent(owner, `waits for a write of no possible size: ${size}: use 1, 2, 4 or 8`);
  }
  if (!Number.isSafeInteger(offset) || offset < 0 || offset > owner.size - size) {
    throw badEvent(owner, `lies outside of the ${owner.size} bytes of the region: ${offset}`);
  }
  if (value !== undefined && (!Number.isSafeInteger(value) || value < 0 || value >= 256 ** size)) {
    throw badEvent(owner, `waits for a value that no write of ${size} bytes has: ${value}`);
  }
  if (events.some((each) => isSame(each, event))) {
    throw badEvent(owner, `was added twice, at offset ${offset}: give it a key of its own`);
  }
  events.push({ ...event });
}

/**
 * Removes the same event from those of a region.
 *
 * @throws {MemoryRegionError} when it is not there
 */
export function removeEvent(events: RegionEvent[], event: RegionEvent, owner: Owner): void {
  const index = events.findIndex((each) => isSame(each, event));
  if (index < 0) throw badEvent(owner, `to be removed is not there: offset ${event.offset}`);
  events.splice(index, 1);
}

function isSame(a: RegionEvent, b: RegionEvent): boolean {
  return a.offset === b.offset && a.size === b.size && a.value === b.value && a.key === b.key;
}

function badEvent({ name }: Owner, what: string): MemoryRegionError {
  return new MemoryRegionError("BAD_EVENT", `I/O event of ${name} ${what}`, [name]);
}

const NONE: readonly FlatEvent[] = [];

/** Returns the events that are wholly inside of one of the ranges, sorted by {@linkcode compareEvents}. */
export function flatEvents(ranges: readonly FlatRange[]): readonly FlatEvent[] {
  let events: FlatEvent[] | undefined;
  for (const { start, length, region, offset } of ranges) {
    if (region.events.length === 0) continue;
    for (const event of region.events) {
      const into = event.offset - offset;
      if (into < 0 || into + event.size > length) continue;
      const { size, value, key } = event;
      (events ??= []).push({ address: start + into, size, value, key });
    }
  }
  return events?.sort(compareEvents) ?? NONE;
}

/** Compares events by address, size, value and key; 0 only for events that are the same. */
export function compareEvents(a: FlatEvent, b: FlatEvent): number {
  return a.address - b.address || a.size - b.size || (a.value ?? -1) - (b.value ?? -1) ||
    (a.key === b.key ? 0 : keyNumber(a.key) - keyNumber(b.key));
}

const keyNumbers = new WeakMap<object, number>();
let nextKeyNumber = 0;

/** Returns a number that is this object's alone: objects have no order of their own. */
function keyNumber(key: object): number {
  let number = keyNumbers.get(key);
  if (number === undefined) keyNumbers.set(key, number = nextKeyNumber++);
  return number;
}
