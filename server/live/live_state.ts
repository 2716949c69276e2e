/** What the threads of a live migration share beside what every outgoing migration has. */

const FLAG_BYTES = 64;
const POSTCOPY_WANTED = 0;
const GUEST_STOPPED = 1;

// Slots of float64 counters; the precopy worker alone writes them.
const ROUNDS = 0;
const DIRTY_RATE = 1;
const BANDWIDTH = 2;
const EXPECTED_DOWNTIME = 3;
const PRECOPY_BYTES = 4;
const DOWNTIME_BYTES = 5;
const COUNTERS = 8;

/** Flags and counters in shared memory. Every thread makes its own from the same buffer. */
export class LiveState {
  /** The shared memory behind it. */
  readonly buffer: SharedArrayBuffer;
  readonly #flags: Int32Array;
  readonly #counters: Float64Array;

  /** @param buffer shared memory of another thread's state; without it, new */
  constructor(buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? new SharedArrayBuffer(FLAG_BYTES + COUNTERS * 8);
    this.#flags = new Int32Array(this.buffer, 0, FLAG_BYTES / 4);
    this.#counters = new Float64Array(this.buffer, FLAG_BYTES, COUNTERS);
  }

  /** Set when the user wants to switch to postcopy now. */
  get postcopyWanted(): boolean {
    return Atomics.load(this.#flags, POSTCOPY_WANTED) === 1;
  }

  /** Asks for postcopy; the precopy worker's eventfd must be signalled too. */
  wantPostcopy(): void {
    Atomics.store(this.#flags, POSTCOPY_WANTED, 1);
  }

  /** Set once nothing writes to the memory any more. */
  get guestStopped(): boolean {
    return Atomics.load(this.#flags, GUEST_STOPPED) === 1;
  }

  /** Records that the guest has stopped; the precopy worker's eventfd must be signalled too. */
  setGuestStopped(): void {
    Atomics.store(this.#flags, GUEST_STOPPED, 1);
  }

  /** Rounds begun: QEMU's `dirty-sync-count`. */
  get rounds(): number {
    return this.#counters[ROUNDS]!;
  }

  set rounds(count: number) {
    this.#counters[ROUNDS] = count;
  }

  /** Pages a second that were written for the first time in the last round. */
  get dirtyRate(): number {
    return this.#counters[DIRTY_RATE]!;
  }

  set dirtyRate(pages: number) {
    this.#counters[DIRTY_RATE] = pages;
  }

  /** Bytes a second that the destination takes. */
  get bandwidth(): number {
    return this.#counters[BANDWIDTH]!;
  }

  set bandwidth(bytes: number) {
    this.#counters[BANDWIDTH] = bytes;
  }

  /** Milliseconds that the rest would take at that bandwidth, when it was last looked at. */
  get expectedDowntime(): number {
    return this.#counters[EXPECTED_DOWNTIME]!;
  }

  set expectedDowntime(milliseconds: number) {
    this.#counters[EXPECTED_DOWNTIME] = milliseconds;
  }

  /** Bytes sent while the guest ran here. */
  get precopyBytes(): number {
    return this.#counters[PRECOPY_BYTES]!;
  }

  /** Counts bytes sent while the guest ran here. */
  addPrecopyBytes(bytes: number): void {
    this.#counters[PRECOPY_BYTES]! += bytes;
  }

  /** Bytes sent while the guest ran nowhere. */
  get downtimeBytes(): number {
    return this.#counters[DOWNTIME_BYTES]!;
  }

  /** Counts bytes sent while the guest ran nowhere. */
  addDowntimeBytes(bytes: number): void {
    this.#counters[DOWNTIME_BYTES]! += bytes;
  }
}
