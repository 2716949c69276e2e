import "../support/native.ts";
import { assertEquals, assertGreater, assertThrows } from "@std/assert";
import { FaultReader } from "../../ffi/fault_reader.ts";
import { Errno, SyscallError } from "../../ffi/errno.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { classifyPlacement, PagePlacer, Placement } from "../../ffi/page_placer.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import { RegisterMode, UffdFeature, Userfaultfd } from "../../ffi/userfaultfd.ts";
import { waitingFaults } from "../../ffi/waiting_faults.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { ScriptProcess } from "../support/processes.ts";
import type { Touch } from "../hostile/touching_worker.ts";

const PAGE = 4096;

/** Registered memory, a placer for it, and a source of content. */
class Bench implements Disposable {
  readonly uffd: Userfaultfd;
  readonly memory: MappedMemory;
  readonly content = MappedMemory.anonymous(8 * PAGE);
  readonly placer: PagePlacer;
  readonly #stack = new DisposableStack();

  constructor(
    backing: "anonymous" | "memfd" = "anonymous",
    mode: bigint = RegisterMode.MISSING,
    pages = 8,
  ) {
    const features = UffdFeature.THREAD_ID |
      (backing === "memfd" ? UffdFeature.MISSING_SHMEM | UffdFeature.MINOR_SHMEM : 0n);
    this.uffd = this.#stack.use(new Userfaultfd({ features }));
    this.memory = this.#stack.use(
      backing === "memfd"
        ? MappedMemory.memfd(pages * PAGE, "bench")
        : MappedMemory.anonymous(pages * PAGE),
    );
    this.#stack.use(this.content);
    const bytes = this.content.bytes();
    for (let index = 0; index < bytes.length; index++) bytes[index] = 1 + index % 251;
    this.uffd.register(this.memory.address, this.memory.length, mode);
    this.placer = new PagePlacer(this.uffd.fd);
  }

  /** Address of a page. */
  at(page: number): number {
    return this.memory.address + page * PAGE;
  }

  /** A page's bytes, which must be in place. */
  page(page: number): Uint8Array {
    return this.memory.bytes(page * PAGE, PAGE).slice();
  }

  /** Content for a page. */
  source(page: number): Uint8Array {
    return this.content.bytes(page * PAGE, PAGE).slice();
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}

/** A thread that touches a page; waits until the userfaultfd holds it. */
async function heldThread(bench: Bench, page: number): Promise<
  { thread: number; released: () => Promise<number>; reader: FaultReader }
> {
  const worker = new Worker(new URL("../hostile/touching_worker.ts", import.meta.url), {
    type: "module",
  });
  const result = new Int32Array(new SharedArrayBuffer(8));
  const touch: Touch = { address: bench.at(page), result: result.buffer as SharedArrayBuffer };
  worker.postMessage(touch);
  const poll = new PollSet(1);
  poll.watch(0, bench.uffd.fd, PollEvents.IN);
  assertGreater(await within("a fault", poll.waitAsync(20_000)), 0);
  const reader = new FaultReader(bench.uffd.fd, 4);
  assertEquals(reader.read(), 1);
  return {
    thread: result[0]!,
    reader,
    released: async () => {
      await until("the thread to run", () => Atomics.load(result, 0) === 2);
      worker.terminate();
      return result[1]!;
    },
  };
}

const ONE = leavingNoDescriptors;

Deno.test(
  "Userfaultfd has the kernel's features and takes any fault of the kernel for root",
  ONE(() => {
    using uffd = new Userfaultfd({ features: UffdFeature.THREAD_ID });
    assertEquals(uffd.features & UffdFeature.THREAD_ID, UffdFeature.THREAD_ID);
    if (Deno.uid() === 0) assertEquals(uffd.userModeOnly, false);
    return Promise.resolve();
  }),
);

Deno.test(
  "Userfaultfd refuses memory that another one has",
  ONE(() => {
    using bench = new Bench();
    using other = new Userfaultfd();
    const error = assertThrows(
      () => other.register(bench.at(0), PAGE, RegisterMode.MISSING),
      SyscallError,
    );
    assertEquals([error.syscall, error.code], ["UFFDIO_REGISTER", "EBUSY"]);
    return Promise.resolve();
  }),
);

for (const backing of ["anonymous", "memfd"] as const) {
  Deno.test(
    `PagePlacer.copy puts pages of ${backing} memory in place, byte for byte, from any address`,
    ONE(() => {
      using bench = new Bench(backing);
      const { placer } = bench;
      assertEquals(placer.copy(bench.at(2), bench.content.address + PAGE, PAGE), Placement.PLACED);
      assertEquals(bench.page(2), bench.source(1));
      assertEquals(
        placer.copy(bench.at(4), bench.content.address + 5, 2 * PAGE),
        Placement.PLACED,
      );
      assertEquals(placer.placedBytes, 2 * PAGE);
      const odd = bench.content.bytes(5, 2 * PAGE);
      assertEquals(bench.memory.bytes(4 * PAGE, 2 * PAGE), odd);
      return Promise.resolve();
    }),
  );

  Deno.test(
    `PagePlacer leaves a page of ${backing} memory that is there as it is, and stops before it`,
    ONE(() => {
      using bench = new Bench(backing);
      const { placer, content } = bench;
      assertEquals(placer.copy(bench.at(3), content.address, PAGE), Placement.PLACED);
      assertEquals(placer.copy(bench.at(3), content.address + PAGE, PAGE), Placement.PRESENT);
      assertEquals(placer.placedBytes, 0);
      assertEquals(placer.zero(bench.at(3), PAGE), Placement.PRESENT);
      // Three pages go in, the fourth is there: what was done is said, and the rest may be tried.
      assertEquals(placer.copy(bench.at(0), content.address, 5 * PAGE), Placement.RETRY);
      assertEquals(placer.placedBytes, 3 * PAGE);
      assertEquals(placer.zero(bench.at(4), PAGE), Placement.PLACED);
      assertEquals(bench.page(3), bench.source(0));
      assertEquals(bench.page(1), bench.source(1));
      assertEquals(bench.page(4), new Uint8Array(PAGE));
      return Promise.resolve();
    }),
  );

  Deno.test(
    `PagePlacer.zero maps zero pages of ${backing} memory, many with one call`,
    ONE(() => {
      using bench = new Bench(backing);
      assertEquals(bench.placer.zero(bench.at(1), 6 * PAGE), Placement.PLACED);
      assertEquals(bench.memory.bytes(PAGE, 6 * PAGE), new Uint8Array(6 * PAGE));
      assertEquals(bench.placer.zero(bench.at(0), 2 * PAGE), Placement.RETRY);
      assertEquals(bench.placer.placedBytes, PAGE);
      return Promise.resolve();
    }),
  );
}

Deno.test(
  "PagePlacer finds memory gone that is not registered any more, and refuses a misaligned page",
  ONE(() => {
    using bench = new Bench();
    const { placer, uffd, content } = bench;
    uffd.unregister(bench.at(6), PAGE);
    assertEquals(placer.copy(bench.at(6), content.address, PAGE), Placement.GONE);
    assertEquals(placer.zero(bench.at(6), PAGE), Placement.GONE);
    const error = assertThrows(
      () => placer.copy(bench.at(0) + 100, content.address, PAGE),
      SyscallError,
    );
    assertEquals([error.syscall, error.code], ["UFFDIO_COPY", "EINVAL"]);
    assertThrows(() => uffd.unregister(bench.at(0) + 1, PAGE), SyscallError, "UFFDIO_UNREGISTER");
    return Promise.resolve();
  }),
);

Deno.test("classifyPlacement tells placed, present, again and gone apart, and throws for mistakes", () => {
  const outcomes = {
    [0]: Placement.PLACED,
    [Errno.EEXIST]: Placement.PRESENT,
    [Errno.EAGAIN]: Placement.RETRY,
    [Errno.EINTR]: Placement.RETRY,
    [Errno.ESRCH]: Placement.GONE,
    [Errno.ENOENT]: Placement.GONE,
  };
  for (const [code, outcome] of Object.entries(outcomes)) {
    assertEquals(classifyPlacement("UFFDIO_COPY", Number(code)), outcome);
  }
  for (const code of [Errno.EINVAL, 14, 12]) {
    const error = assertThrows(() => classifyPlacement("UFFDIO_COPY", code), SyscallError);
    assertEquals(error.errno, code);
  }
});

Deno.test(
  "PagePlacer.copy lets the thread run that waits for the page, on the bytes that were placed",
  ONE(async () => {
    using bench = new Bench();
    const { reader, released } = await heldThread(bench, 5);
    assertEquals(reader.isPageFault(0), true);
    assertEquals(reader.address(0), bench.at(5));
    assertGreater(reader.threadId(0), 0);
    assertEquals(waitingFaults(bench.uffd.fd), 1);
    bench.placer.copy(bench.at(5), bench.content.address, PAGE);
    assertEquals(await released(), new Int32Array(bench.source(0).buffer)[5]);
    assertEquals(waitingFaults(bench.uffd.fd), 0);
  }),
);

Deno.test(
  "PagePlacer.wake lets a thread fault again whose page is still missing",
  ONE(async () => {
    using bench = new Bench();
    const { reader, released } = await heldThread(bench, 2);
    bench.placer.wake(bench.at(2), PAGE);
    const poll = new PollSet(1);
    poll.watch(0, bench.uffd.fd, PollEvents.IN);
    assertGreater(await within("the fault again", poll.waitAsync(20_000)), 0);
    assertEquals(reader.read(), 1);
    assertEquals(reader.address(0), bench.at(2));
    bench.placer.zero(bench.at(2), PAGE);
    assertEquals(await released(), 0);
    assertEquals(reader.read(), -Errno.EAGAIN);
  }),
);

Deno.test(
  "PagePlacer.continue maps what was written into the memfd, and wakes who waits for it",
  ONE(async () => {
    using bench = new Bench("memfd", RegisterMode.MISSING | RegisterMode.MINOR);
    // Nothing in the page cache yet: there is nothing to go on with.
    assertThrows(() => bench.placer.continue(bench.at(1), PAGE), SyscallError, "UFFDIO_CONTINUE");
    using file = Deno.openSync(`/proc/self/fd/${bench.memory.fd}`, { write: true });
    file.seekSync(1 * PAGE, Deno.SeekMode.Start);
    file.writeSync(bench.source(3));
    const { released, reader } = await heldThread(bench, 1);
    assertEquals(reader.address(0), bench.at(1));
    assertEquals(bench.placer.continue(bench.at(1), PAGE), Placement.PLACED);
    assertEquals(await released(), new Int32Array(bench.source(3).buffer)[5]);
    assertEquals(bench.page(1), bench.source(3));
    assertEquals(bench.placer.continue(bench.at(1), PAGE), Placement.PRESENT);
  }),
);

Deno.test(
  "MappedMemory.discard makes pages missing again",
  ONE(() => {
    for (const backing of ["anonymous", "memfd"] as const) {
      using bench = new Bench(backing);
      bench.placer.copy(bench.at(0), bench.content.address, 4 * PAGE);
      bench.memory.discard(PAGE, 2 * PAGE);
      assertEquals(bench.placer.zero(bench.at(1), 2 * PAGE), Placement.PLACED);
      assertEquals(bench.page(1), new Uint8Array(PAGE));
      assertEquals(bench.page(3), bench.source(3));
    }
    return Promise.resolve();
  }),
);

Deno.test("PagePlacer.poison makes the touch of a page fatal, not zero", async () => {
  await using process = new ScriptProcess("tests/ffi/poisoned.ts", []);
  const { signal, code, output } = await within("the process to die", process.ended);
  assertEquals(output, "placed 0, content replaces it: 0\ntouching");
  assertEquals(signal ?? code, "SIGBUS");
});
