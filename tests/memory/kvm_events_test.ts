import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { KvmEvents } from "../../client/memory/kvm_events.ts";
import { KvmSlots } from "../../client/memory/kvm_slots.ts";
import { clearEvent, Eventfd } from "../../ffi/eventfd.ts";
import { KvmMachine } from "../../ffi/kvm.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import { AddressSpace } from "../../migration/address_space/address_space.ts";
import { GuestMemoryError } from "../../migration/address_space/guest_memory_error.ts";
import { MemoryRegion } from "../../migration/address_space/memory_region.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { testUnless } from "../support/skip.ts";
import { KvmProcessor, needsKvm } from "./kvm_processor.ts";
import { MappedMachine, PAGE } from "./mapped_machine.ts";

/** A machine with a device at 0xc0000 whose writes may signal. */
class Machine extends MappedMachine {
  readonly kvm = new KvmMachine();
  readonly processor = new KvmProcessor(this.kvm);
  readonly device = this.io("device", PAGE);
  readonly events = new KvmEvents(this.kvm);
  readonly remove: () => void;
  readonly eventfds = [new Eventfd(), new Eventfd()] as const;

  constructor() {
    super({ ram: 4 * PAGE });
    this.space.addListener(new KvmSlots(this.kvm, this.ram));
    this.remove = this.space.addListener(this.events);
    this.system.add(this.device, 0xc0000);
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    this.processor[Symbol.dispose]();
    this.kvm.close();
    for (const eventfd of this.eventfds) eventfd.close();
  }
}

/** Reports whether the eventfd was signalled since the last look. */
function signalled({ fd }: Eventfd): boolean {
  const poll = new PollSet(1);
  poll.watch(0, fd, PollEvents.IN);
  const ready = poll.wait(0) > 0;
  if (ready) clearEvent(fd);
  return ready;
}

const none = needsKvm();

function test(name: string, run: () => void): void {
  testUnless(
    none,
    name,
    leavingNoDescriptors(() => {
      run();
      return Promise.resolve();
    }),
  );
}

test("KvmEvents lets a write of the guest signal an eventfd without leaving the guest", () => {
  using machine = new Machine();
  const [first, second] = machine.eventfds;
  machine.device.addEvent({ offset: 0x10, size: 2, key: first });
  machine.device.addEvent({ offset: 0x20, size: 2, value: 7, key: second });
  assertEquals(machine.processor.write(0xc0010, 1), true);
  assertEquals([signalled(first), signalled(second)], [true, false]);
  assertEquals(machine.processor.write(0xc0020, 7), true);
  assertEquals([signalled(first), signalled(second)], [false, true]);
  assertEquals(machine.processor.write(0xc0020, 8), false);
  assertEquals(machine.processor.write(0xc0030, 7), false);
  assertEquals([signalled(first), signalled(second)], [false, false]);
});

test("KvmEvents follows its region: moved, disabled, enabled, removed", () => {
  using machine = new Machine();
  const [eventfd] = machine.eventfds;
  machine.device.addEvent({ offset: 0, size: 2, key: eventfd });
  const writes = (address: number) => machine.processor.write(address, 1) && signalled(eventfd);
  machine.device.address = 0xd0000;
  assertEquals([writes(0xc0000), writes(0xd0000)], [false, true]);
  machine.device.enabled = false;
  assertEquals([writes(0xd0000), machine.events.count], [false, 0]);
  machine.device.enabled = true;
  assertEquals([writes(0xd0000), machine.events.count], [true, 1]);
  machine.device.removeEvent({ offset: 0, size: 2, key: eventfd });
  assertEquals([writes(0xd0000), machine.events.count], [false, 0]);
});

test("KvmEvents tells values of one address apart, each with an eventfd or all with one", () => {
  using machine = new Machine();
  const [first, second] = machine.eventfds;
  machine.device.addEvent({ offset: 0, size: 2, value: 0, key: first });
  machine.device.addEvent({ offset: 0, size: 2, value: 1, key: second });
  machine.device.addEvent({ offset: 0, size: 2, value: 2, key: first });
  machine.device.removeEvent({ offset: 0, size: 2, value: 2, key: first });
  assertEquals([0, 1, 2].map((value) => machine.processor.write(0xc0000, value)), [
    true,
    true,
    false,
  ]);
  assertEquals([signalled(first), signalled(second)], [true, true]);
});

test("KvmEvents with ports takes writes to the ports of x86", () => {
  using machine = new Machine();
  const [eventfd] = machine.eventfds;
  const ports = MemoryRegion.container(machine.core, "ports", 0x10000);
  using space = new AddressSpace(machine.core, "I/O", ports);
  space.addListener(new KvmEvents(machine.kvm, { ports: true }));
  const device = machine.io("notify", 32);
  device.addEvent({ offset: 16, size: 2, key: eventfd });
  ports.add(device, 0xc000);
  assertEquals([machine.processor.out(0xc010, 1), signalled(eventfd)], [true, true]);
  assertEquals([machine.processor.out(0xc012, 1), signalled(eventfd)], [false, false]);
});

test("KvmEvents finds the eventfds of keys that have none themselves", () => {
  using machine = new Machine();
  const [eventfd] = machine.eventfds;
  const queue = { name: "queue" };
  machine.remove();
  machine.space.addListener(
    new KvmEvents(machine.kvm, { eventfdOf: (key) => key === queue ? eventfd.fd : undefined }),
  );
  machine.device.addEvent({ offset: 0, size: 2, key: queue });
  assertEquals([machine.processor.write(0xc0000, 1), signalled(eventfd)], [true, true]);
});

test("KvmEvents removes all of its events when it is taken off", () => {
  using machine = new Machine();
  machine.device.addEvent({ offset: 0, size: 2, key: machine.eventfds[0] });
  machine.remove();
  assertEquals([machine.processor.write(0xc0000, 1), machine.events.count], [false, 0]);
});

test("KvmEvents says which event KVM does not take, and why", () => {
  using machine = new Machine();
  const [first, second] = machine.eventfds;
  const none = assertThrows(
    () => machine.device.addEvent({ offset: 4, size: 2, key: {} }),
    GuestMemoryError,
  );
  assertEquals([none.code, none.address], ["EVENT_REFUSED", 0xc0004]);
  assertStringIncludes(
    none.message,
    "I/O event at 0xc0004 has no open eventfd: undefined: add it with an Eventfd",
  );
  machine.device.addEvent({ offset: 0, size: 2, key: first });
  const twice = assertThrows(
    () => machine.device.addEvent({ offset: 0, size: 2, key: second }),
    GuestMemoryError,
  );
  assertStringIncludes(twice.message, "I/O event at 0xc0000: KVM_IOEVENTFD failed with EEXIST");
  assertStringIncludes(twice.message, "give one of them a value");
  // What KVM did not take is not removed from it.
  machine.device.removeEvent({ offset: 0, size: 2, key: second });
  assertEquals([machine.processor.write(0xc0000, 1), signalled(first)], [true, true]);
});

test("KvmEvents says that an eventfd was closed before its event", () => {
  using machine = new Machine();
  const eventfd = new Eventfd();
  machine.device.addEvent({ offset: 0, size: 2, key: eventfd });
  eventfd.close();
  const error = assertThrows(
    () => machine.device.removeEvent({ offset: 0, size: 2, key: eventfd }),
    GuestMemoryError,
  );
  assertStringIncludes(error.message, "remove the event first");
});
