/** The eventfds of a KVM virtual machine: writes to a device that do not leave the guest. */

import { Errno, SyscallError } from "../../ffi/errno.ts";
import type { KvmEvent, KvmMachine } from "../../ffi/kvm.ts";
import type { FlatEvent } from "../../migration/address_space/flat_view.ts";
import { addressText, GuestMemoryError } from "../../migration/address_space/guest_memory_error.ts";
import type { MemoryListener } from "../../migration/address_space/memory_listener.ts";

/** How {@linkcode KvmEvents} works. */
export interface KvmEventsOptions {
  /** Whether the address space is that of the x86 ports; default false, memory. */
  readonly ports?: boolean;
  /** Returns the eventfd of an event's key; default its `fd`, as an `Eventfd` has it. */
  readonly eventfdOf?: (key: object) => number | undefined;
}

/**
 * Keeps an ioeventfd of KVM for each I/O event that an address space shows. The eventfd of an event must
 * stay open until the event is gone. Add it to the address space as a listener; taken off again, it
 * removes its ioeventfds.
 */
export class KvmEvents implements MemoryListener {
  readonly #machine: KvmMachine;
  readonly #isPort: boolean;
  readonly #eventfdOf: (key: object) => unknown;
  /** By the key: an address may have several, of different values. */
  readonly #assigned = new Map<object, KvmEvent[]>();
  #count = 0;

  /**
   * Makes the events of a machine; none is assigned before it listens to an address space.
   *
   * @param machine the virtual machine, owned elsewhere
   * @param options how it works
   */
  constructor(machine: KvmMachine, options: KvmEventsOptions = {}) {
    this.#machine = machine;
    this.#isPort = options.ports ?? false;
    this.#eventfdOf = options.eventfdOf ?? ((key) => (key as { readonly fd?: unknown }).fd);
  }

  /** Events that KVM has now. */
  get count(): number {
    return this.#count;
  }

  /**
   * Removes an event.
   *
   * @throws {GuestMemoryError} `EVENT_REFUSED`, for example when its eventfd was closed before
   */
  eventDel(event: FlatEvent): void {
    const events = this.#assigned.get(event.key) ?? [];
    const index = events.findIndex(({ address, size, value }) =>
      address === event.address && size === event.size && value === event.value
    );
    if (index < 0) return; // KVM did not take it
    const [assigned] = events.splice(index, 1);
    if (events.length === 0) this.#assigned.delete(event.key);
    this.#count--;
    try {
      this.#machine.deassignEvent(assigned!);
    } catch (error) {
      throw refusal(event, error);
    }
  }

  /**
   * Assigns an event.
   *
   * @throws {GuestMemoryError} `EVENT_REFUSED` when its key has no eventfd, or KVM does not take it
   */
  eventAdd(event: FlatEvent): void {
    const { address, size, value, key } = event;
    const fd = this.#eventfdOf(key);
    if (typeof fd !== "number" || fd < 0) {
      throw new GuestMemoryError(
        "EVENT_REFUSED",
        address,
        `I/O event at ${addressText(address)} has no open eventfd: ${fd}: ` +
          `add it with an Eventfd as its key, and close that later`,
      );
    }
    const assigned: KvmEvent = { address, size, value, isPort: this.#isPort, fd };
    try {
      this.#machine.assignEvent(assigned);
    } catch (error) {
      throw refusal(event, error);
    }
    const events = this.#assigned.get(key);
    if (events === undefined) this.#assigned.set(key, [assigned]);
    else events.push(assigned);
    this.#count++;
  }
}

const REMEDIES: Readonly<Record<number, string>> = {
  [Errno.EEXIST]: "another event has the same address, size and value: give one of them a value",
  [Errno.ENOSPC]: "KVM takes 1000 devices and events on a bus: use fewer queues",
  [Errno.EBADF]: "its eventfd was closed before it: remove the event first",
};

function refusal({ address }: FlatEvent, cause: unknown): unknown {
  if (!(cause instanceof SyscallError)) return cause;
  const remedy = REMEDIES[cause.errno];
  return new GuestMemoryError(
    "EVENT_REFUSED",
    address,
    `I/O event at ${addressText(address)}: ${cause.message}` +
      (remedy === undefined ? "" : `: ${remedy}`),
    { cause },
  );
}
