/** What the threads of a live migration share beside what every outgoing migration has. */

import { SharedLayout } from "../../migration/threads/shared_layout.ts";

const layout = new SharedLayout();
const Flag = layout.words("POSTCOPY_WANTED", "GUEST_STOPPED", "UNAPPROVED");
// The precopy sender alone writes them.
const Counter = layout.numbers(
  "ROUNDS",
  "DIRTY_RATE",
  "BANDWIDTH",
  "EXPECTED_DOWNTIME",
  "PRECOPY_BYTES",
  "DOWNTIME_BYTES",
);

/** Flags and counters in shared memory. Every thread makes its own from the same buffer. */
export class LiveState {
  /** The shared memory behind it. */
  readonly buffer: SharedArrayBuffer;
  readonly #flags: Int32Array;
  readonly #counters: Float64Array;

  /** @param buffer shared memory of another thread's state; without it, new */
  constructor(buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? new SharedArrayBuffer(layout.bytes);
    this.#flags = new Int32Array(this.buffer);
    this.#counters = new Float64Array(this.buffer);
  }

  /** Set when the user wants to switch to postcopy now. */
  get postcopyWanted(): boolean {
    return Atomics.load(this.#flags, Flag.POSTCOPY_WANTED) === 1;
  }

  /** Asks for postcopy; the precopy sender's eventfd must be signalled too. */
  wantPostcopy(): void {
    Atomics.store(this.#flags, Flag.POSTCOPY_WANTED, 1);
  }

  /** Set once nothing writes to the memory any more. */
  get guestStopped(): boolean {
    return Atomics.load(this.#flags, Flag.GUEST_STOPPED) === 1;
  }

  /** Records that the guest has stopped; the precopy sender's eventfd must be signalled too. */
  setGuestStopped(): void {
    Atomics.store(this.#flags, Flag.GUEST_STOPPED, 1);
  }

  /** Set while the destination has not approved the switchover, where it does so: the guest goes on here. */
  get unapproved(): boolean {
    return Atomics.load(this.#flags, Flag.UNAPPROVED) === 1;
  }

  /** Records whether an approval is waited for; the precopy sender's eventfd must be signalled too. */
  setUnapproved(waits: boolean): void {
    Atomics.store(this.#flags, Flag.UNAPPROVED, waits ? 1 : 0);
  }

  /** Rounds begun: QEMU's `dirty-sync-count`. */
  get rounds(): number {
    return this.#counters[Counter.ROUNDS]!;
  }

  set rounds(count: number) {
    this.#counters[Counter.ROUNDS] = count;
  }

  /** Pages a second that were written for the first time in the last round. */
  get dirtyRate(): number {
    return this.#counters[Counter.DIRTY_RATE]!;
  }

  set dirtyRate(pages: number) {
    this.#counters[Counter.DIRTY_RATE] = pages;
  }

  /** Bytes a second that the destination takes. */
  get bandwidth(): number {
    return this.#counters[Counter.BANDWIDTH]!;
  }

  set bandwidth(bytes: number) {
    this.#counters[Counter.BANDWIDTH] = bytes;
  }

  /** Milliseconds that the rest would take at that bandwidth, when it was last looked at. */
  get expectedDowntime(): number {
    return this.#counters[Counter.EXPECTED_DOWNTIME]!;
  }

  set expectedDowntime(milliseconds: number) {
    this.#counters[Counter.EXPECTED_DOWNTIME] = milliseconds;
  }

  /** Bytes sent while the guest ran here. */
  get precopyBytes(): number {
    return this.#counters[Counter.PRECOPY_BYTES]!;
  }

  /** Counts bytes sent while the guest ran here. */
  addPrecopyBytes(bytes: number): void {
    this.#counters[Counter.PRECOPY_BYTES]! += bytes;
  }

  /** Bytes sent while the guest ran nowhere. */
  get downtimeBytes(): number {
    return this.#counters[Counter.DOWNTIME_BYTES]!;
  }

  /** Counts bytes sent while the guest ran nowhere. */
  addDowntimeBytes(bytes: number): void {
    this.#counters[Counter.DOWNTIME_BYTES]! += bytes;
  }
}
