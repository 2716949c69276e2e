import { assertEquals, assertGreater } from "@std/assert";
import { KvmSlots } from "../../client/memory/kvm_slots.ts";
import { UserfaultRanges } from "../../client/memory/userfault_ranges.ts";
import { FaultReader } from "../../ffi/fault_reader.ts";
import { KvmMachine } from "../../ffi/kvm.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { PagePlacer, Placement } from "../../ffi/page_placer.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import { Userfaultfd } from "../../ffi/userfaultfd.ts";
import { GuestTranslation } from "../../migration/address_space/guest_translation.ts";
import { WorkerThread } from "../../migration/threads/worker_thread.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { testUnless } from "../support/skip.ts";
import { KvmProcessor, needsKvm } from "./kvm_processor.ts";
import { MappedMachine, PAGE } from "./mapped_machine.ts";
import type { ProcessorRead } from "./processor_worker.ts";

testUnless(
  needsKvm(),
  "GuestTranslation says of a processor's fault on a missing page which address the guest meant",
  leavingNoDescriptors(async () => {
    using machine = new MappedMachine({ ram: 16 * PAGE });
    using kvm = new KvmMachine();
    using processor = new KvmProcessor(kvm);
    using uffd = new Userfaultfd();
    using translation = new GuestTranslation(machine.space, machine.ram);
    using removal = new DisposableStack();
    removal.defer(machine.space.addListener(new UserfaultRanges(uffd.fd, machine.ram)));
    removal.defer(machine.space.addListener(new KvmSlots(kvm, machine.ram)));
    machine.system.add(machine.region("ram", 8 * PAGE, 4 * PAGE), 0x40000);

    const read = Promise.withResolvers<number | undefined>();
    const entry = new URL("./processor_worker.ts", import.meta.url);
    const thread = new WorkerThread<ProcessorRead, number | undefined>(entry, read.resolve);
    thread.ended.catch(read.reject);
    thread.run({ processor: processor.handle, address: 0x43021 });
    const poll = new PollSet(1);
    poll.watch(0, uffd.fd, PollEvents.IN);
    assertGreater(await within("the processor's fault", poll.waitAsync(20_000)), 0);
    const reader = new FaultReader(uffd.fd, 1);
    assertEquals(reader.read(), 1);
    const host = reader.address(0);
    assertEquals(translation.guestAddress(host), 0x43000);
    assertEquals([translation.blockIndex(0x43000), translation.blockOffset(0x43000)], [
      0,
      7 * PAGE,
    ]);
    assertEquals(translation.hostAddress(0x43000), host);
    using content = MappedMemory.anonymous(PAGE);
    content.bytes()[0x21] = 0xa5;
    assertEquals(new PagePlacer(uffd.fd).copy(host, content.address, PAGE), Placement.PLACED);
    assertEquals(await within("the processor to read", read.promise), 0xa5);
    await thread.join();
  }),
);
