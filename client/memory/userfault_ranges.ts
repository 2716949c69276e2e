/** The userfaultfd ranges of a machine: what it sees of its RAM, and nothing else. */

import { Errno, SyscallError } from "../../ffi/errno.ts";
import { RegisterMode, registerRange, unregisterRange } from "../../ffi/userfaultfd.ts";
import type { FlatRange } from "../../migration/address_space/flat_view.ts";
import type { GuestBlock } from "../../migration/memory/guest_block.ts";
import { addressText, GuestMemoryError } from "../../migration/address_space/guest_memory_error.ts";
import type { MemoryListener } from "../../migration/address_space/memory_listener.ts";
import type { RamAddresses } from "../../migration/address_space/ram_addresses.ts";
import { type Run, subtract, union } from "../../migration/address_space/runs.ts";
import { throwErrors } from "../../migration/address_space/thrown.ts";

/** How {@linkcode UserfaultRanges} works. */
export interface UserfaultRangesOptions {
  /**
   * Asked before RAM that is no longer seen is let go: whether every page of it is there. What is not
   * complete stays registered, and is asked for again at each later commit and by
   * {@linkcode UserfaultRanges.settle}. Default: all is.
   *
   * @param block index of the RAM block
   * @param offset first byte in it
   * @param length bytes
   */
  readonly isComplete?: (block: number, offset: number, length: number) => boolean;
}

/** A registered range. */
export interface UserfaultRange {
  /** Index of its RAM block. */
  readonly block: number;
  /** First byte in the block. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
}

/** RAM of one block. */
interface BlockRanges {
  /** What the address space shows of it, by guest-physical address, widened to whole host pages. */
  readonly seen: Map<number, Run>;
  /** Sorted. */
  registered: Run[];
}

/**
 * Registers the RAM that an address space shows with a userfaultfd, and unregisters what it no longer
 * shows. Add it to the address space as a listener; taken off again, it unregisters everything.
 *
 * A host page of which any byte is seen is registered whole: were it not, the touch of that byte would
 * make a page of zeros. RAM seen at several addresses is registered once, and let go with the last of
 * them. What vanishes and comes back in one commit stays registered all along: letting it go, even for
 * a moment, would hand zeros to whoever waits for one of its pages.
 *
 * The same goes for RAM that really vanishes: a page of it that is missing is a page of zeros at the
 * next touch, by whomever. `isComplete` keeps such ranges registered.
 */
export class UserfaultRanges implements MemoryListener {
  readonly #uffd: number;
  readonly #ram: RamAddresses;
  readonly #isComplete: NonNullable<UserfaultRangesOptions["isComplete"]>;
  readonly #blocks: readonly BlockRanges[];
  readonly #changed = new Set<number>();
  #registrations = 0;
  #unregistrations = 0;

  /**
   * Makes the ranges of a userfaultfd; none is registered before it listens to an address space.
   *
   * @param uffd the userfaultfd, owned elsewhere, with the features that memfds need if there are any
   * @param ram where the blocks are
   * @param options how it works
   */
  constructor(uffd: number, ram: RamAddresses, options: UserfaultRangesOptions = {}) {
    this.#uffd = uffd;
    this.#ram = ram;
    this.#isComplete = options.isComplete ?? (() => true);
    this.#blocks = ram.blocks.map(() => ({ seen: new Map(), registered: [] }));
  }

  /** What is registered, in the order of blocks and offsets. */
  get registered(): readonly UserfaultRange[] {
    return this.#blocks.flatMap(({ registered }, block) =>
      registered.map(({ start, end }) => ({ block, offset: start, length: end - start }))
    );
  }

  /** Ranges registered and unregistered so far: an ioctl each. */
  get calls(): { readonly registrations: number; readonly unregistrations: number } {
    return { registrations: this.#registrations, unregistrations: this.#unregistrations };
  }

  /** Notes RAM that is seen no longer. */
  regionDel(range: FlatRange): void {
    if (range.region.kind !== "ram" || !this.#ram.has(range)) return;
    const block = this.#ram.blockOf(range);
    if (this.#blocks[block]!.seen.delete(range.start)) this.#changed.add(block);
  }

  /**
   * Notes RAM that is seen now.
   *
   * @throws {GuestMemoryError} when it is in no block
   */
  regionAdd(range: FlatRange): void {
    if (range.region.kind !== "ram") return;
    const block = this.#ram.blockOf(range);
    const { pageSize } = this.#ram.blocks[block]!;
    const start = this.#ram.offsetOf(range);
    const end = start + range.length;
    this.#blocks[block]!.seen.set(range.start, {
      start: start - start % pageSize,
      end: Math.ceil(end / pageSize) * pageSize,
    });
    this.#changed.add(block);
  }

  /**
   * Registers and unregisters what has changed. What fails is tried again at each later commit.
   *
   * @throws {GuestMemoryError} `USERFAULT_REFUSED` with what the kernel said; an AggregateError when
   * it is several ranges
   */
  commit(): void {
    if (this.#changed.size === 0) return;
    const errors: unknown[] = [];
    for (const block of [...this.#changed]) this.#update(block, errors);
    throwErrors(errors, "The userfaultfd did not take several changes");
  }

  /**
   * Lets go of what is seen no longer and was not complete before, where it is now.
   *
   * @returns whether that is all of it
   * @throws as {@linkcode UserfaultRanges.commit}
   */
  settle(): boolean {
    this.commit();
    return this.#changed.size === 0;
  }

  #update(block: number, errors: unknown[]): void {
    const ranges = this.#blocks[block]!;
    const seen = union([...ranges.seen.values()]);
    let settled = true;
    // Done one by one: what did not work stays as it is, and is a difference the next time too.
    for (const run of subtract(seen, ranges.registered)) {
      if (this.#try("UFFDIO_REGISTER", block, run, errors)) {
        ranges.registered = union([...ranges.registered, run]);
      } else settled = false;
    }
    for (const run of subtract(ranges.registered, seen)) {
      const isComplete = this.#isComplete(block, run.start, run.end - run.start);
      if (isComplete && this.#try("UFFDIO_UNREGISTER", block, run, errors)) {
        ranges.registered = subtract(ranges.registered, [run]);
      } else settled = false;
    }
    if (settled) this.#changed.delete(block);
  }

  #try(
    ioctl: "UFFDIO_REGISTER" | "UFFDIO_UNREGISTER",
    index: number,
    { start, end }: Run,
    errors: unknown[],
  ): boolean {
    const block = this.#ram.blocks[index]!;
    try {
      if (ioctl === "UFFDIO_REGISTER") {
        registerRange(this.#uffd, block.address + start, end - start, registerMode(block));
        this.#registrations++;
      } else {
        unregisterRange(this.#uffd, block.address + start, end - start);
        this.#unregistrations++;
      }
      return true;
    } catch (error) {
      errors.push(refusal(block, { start, end }, this.#blocks[index]!.seen, error));
      return false;
    }
  }
}

/** In shared memory a page may be in the page cache that nobody received: it is to fault too. */
function registerMode({ fd }: GuestBlock): bigint {
  return RegisterMode.MISSING | (fd >= 0 ? RegisterMode.MINOR : 0n);
}

function refusal(
  block: GuestBlock,
  { start, end }: Run,
  seen: ReadonlyMap<number, Run>,
  cause: unknown,
): unknown {
  if (!(cause instanceof SyscallError)) return cause;
  const [address] = [...seen].find(([, run]) => run.start < end && run.end > start) ?? [];
  const where = address === undefined ? "seen nowhere" : `seen at ${addressText(address)}`;
  return new GuestMemoryError(
    "USERFAULT_REFUSED",
    address,
    `Userfaultfd range of RAM block ${block.name}, ${addressText(start)} to ` +
      `${addressText(end - 1)}, ${where}: ${cause.message}${remedy(block, cause)}`,
    { cause },
  );
}

function remedy(block: GuestBlock, { syscall, errno }: SyscallError): string {
  if (errno === Errno.ENOMEM) {
    return ": raise sysctl vm.max_map_count, or show the block's RAM in fewer pieces";
  }
  if (errno === Errno.EINVAL && syscall === "UFFDIO_REGISTER") {
    return block.fd >= 0
      ? ": open the userfaultfd with MISSING_SHMEM and MINOR_SHMEM, on Linux 5.13 or newer"
      : ": back the block with anonymous memory or a memfd";
  }
  return "";
}
