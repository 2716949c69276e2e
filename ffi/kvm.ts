/** KVM: a virtual machine of the kernel, the memory its processors see, and eventfds its guest signals. */

import { cString, errno, libc } from "./libc.ts";
import { Errno, errnoName, SyscallError } from "./errno.ts";
import { OpenFlag } from "./open_flags.ts";

// From include/uapi/linux/kvm.h; these ioctl numbers and layouts are equal on x86-64 and aarch64.
const KVM_GET_API_VERSION = 0xae00;
const KVM_CREATE_VM = 0xae01;
const KVM_CHECK_EXTENSION = 0xae03;
const KVM_SET_USER_MEMORY_REGION = 0x4020_ae46;
const KVM_IOEVENTFD = 0x4040_ae79;
const KVM_CAP_NR_MEMSLOTS = 10n;
/** The version since Linux 2.6.22; the kernel's documentation tells programs to refuse any other. */
const API_VERSION = 12;
/** Slots of a kernel too old to say. */
const OLD_SLOT_LIMIT = 32;
const IOEVENTFD_DATAMATCH = 1;
const IOEVENTFD_PIO = 2;
const IOEVENTFD_DEASSIGN = 4;

const ABSENT_FOR: Readonly<Record<number, string>> = {
  [Errno.ENOENT]: "load the module kvm_intel or kvm_amd, and enable virtualization in the " +
    "firmware or in the hypervisor that this host runs in",
  [Errno.EACCES]: "give this user read and write permission, usually by the group kvm",
  [Errno.EPERM]: "this container may not use the device: let it",
  [Errno.ENOTTY]: "it is another device",
};

/** Thrown where KVM cannot be used at all. */
export class KvmAbsentError extends Error {
  /** The class's name. */
  override readonly name = "KvmAbsentError";
  /** Machine-readable reason. */
  readonly code = "KVM_ABSENT";

  /**
   * Says what is missing, and what to do.
   *
   * @param path the device
   * @param found errno of the first call that the device failed, or the version that it has
   */
  constructor(path: string, found: { readonly errno: number } | { readonly version: number }) {
    super(
      "errno" in found
        ? `No KVM at ${path}: ${errnoName(found.errno)}: ${
          ABSENT_FOR[found.errno] ?? "it cannot be opened"
        }`
        : `KVM of another version than ${API_VERSION} at ${path}: ${found.version}`,
    );
  }
}

/** A write of the guest that makes an eventfd readable, instead of leaving the guest. */
export interface KvmEvent {
  /** Guest-physical address, or port, of the write. */
  readonly address: number;
  /** Bytes of the write: 1, 2, 4 or 8. */
  readonly size: number;
  /** The value that must be written; undefined for any. */
  readonly value: number | undefined;
  /** Whether the address is a port of x86. */
  readonly isPort: boolean;
  /** The eventfd, owned elsewhere. */
  readonly fd: number;
}

/**
 * Returns why KVM cannot be used here, with what to do; undefined when it can.
 *
 * @param path the device
 */
export function kvmAbsence(path = "/dev/kvm"): string | undefined {
  try {
    new KvmMachine(path).close();
    return undefined;
  } catch (error) {
    if (error instanceof KvmAbsentError || error instanceof SyscallError) return error.message;
    throw error;
  }
}

/** A virtual machine that this object owns. It has no processor; closing it takes its slots with it. */
export class KvmMachine implements Disposable {
  /** Memory slots that it may have: their numbers are below. */
  readonly slotLimit: number;
  #fd: number;

  /**
   * Makes a virtual machine without memory.
   *
   * @param path the device
   * @throws {KvmAbsentError} when the device is not there, not for this user, or not KVM
   * @throws {SyscallError} from KVM_CREATE_VM
   */
  constructor(path = "/dev/kvm") {
    const device = libc().open(cString(path), OpenFlag.RDWR | OpenFlag.CLOEXEC, 0);
    if (device < 0) throw new KvmAbsentError(path, { errno: errno() });
    try {
      const version = libc().ioctlNumber(device, KVM_GET_API_VERSION, 0n);
      if (version < 0) throw new KvmAbsentError(path, { errno: errno() });
      if (version !== API_VERSION) {
        throw new KvmAbsentError(path, { version });
      }
      const limit = libc().ioctlNumber(device, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);
      this.slotLimit = limit > 0 ? limit : OLD_SLOT_LIMIT;
      this.#fd = create(device);
    } finally {
      libc().close(device);
    }
  }

  /** The descriptor; -1 once closed. */
  get fd(): number {
    return this.#fd;
  }

  /**
   * Shows memory of this process to the guest. Addresses and length are multiples of the host page.
   *
   * @param slot a number below {@linkcode KvmMachine.slotLimit}; a slot in use must be deleted first,
   * unless only its guest-physical address changes
   * @param guestAddress guest-physical address of the first byte
   * @param hostAddress the memory; it must stay mapped for as long as the guest may touch it
   * @param length bytes
   * @throws {SyscallError} `EEXIST` when another slot has some of the addresses; `EINVAL` for a slot or
   * an address that cannot be
   */
  setSlot(slot: number, guestAddress: number, hostAddress: number, length: number): void {
    this.#setSlot(slot, guestAddress, hostAddress, length);
  }

  /**
   * Takes a slot's memory from the guest.
   *
   * @throws {SyscallError} `EINVAL` when the slot is not in use
   */
  deleteSlot(slot: number): void {
    this.#setSlot(slot, 0, 0, 0);
  }

  /**
   * Lets a write of the guest signal an eventfd.
   *
   * @throws {SyscallError} `EEXIST` when another event has that write; `ENOSPC` when the bus is full;
   * `EBADF` when it is no eventfd
   */
  assignEvent(event: KvmEvent): void {
    this.#ioeventfd(event, 0);
  }

  /**
   * Undoes {@linkcode KvmMachine.assignEvent}; the eventfd must still be open.
   *
   * @throws {SyscallError} `ENOENT` when there is no such event
   */
  deassignEvent(event: KvmEvent): void {
    this.#ioeventfd(event, IOEVENTFD_DEASSIGN);
  }

  /** Closes the machine. Closing again does nothing. */
  close(): void {
    if (this.#fd < 0) return;
    libc().close(this.#fd);
    this.#fd = -1;
  }

  /** Closes it. */
  [Symbol.dispose](): void {
    this.close();
  }

  #setSlot(slot: number, guestAddress: number, hostAddress: number, length: number): void {
    // struct kvm_userspace_memory_region: u32 slot, u32 flags, then three u64.
    const region = BigUint64Array.of(
      BigInt(slot),
      BigInt(guestAddress),
      BigInt(length),
      BigInt(hostAddress),
    );
    if (libc().ioctl(this.#fd, KVM_SET_USER_MEMORY_REGION, new Uint8Array(region.buffer)) >= 0) {
      return;
    }
    const what = length === 0
      ? `deletion of slot ${slot}`
      : `slot ${slot}, ${length} bytes at 0x${guestAddress.toString(16)}`;
    throw new SyscallError("KVM_SET_USER_MEMORY_REGION", errno(), what);
  }

  #ioeventfd({ address, size, value, isPort, fd }: KvmEvent, flags: number): void {
    // struct kvm_ioeventfd: u64 datamatch, u64 addr, u32 len, s32 fd, u32 flags, 36 bytes of padding.
    const bytes = new Uint8Array(64);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, BigInt(value ?? 0), true);
    view.setBigUint64(8, BigInt(address), true);
    view.setUint32(16, size, true);
    view.setInt32(20, fd, true);
    const matches = value === undefined ? 0 : IOEVENTFD_DATAMATCH;
    view.setUint32(24, flags | matches | (isPort ? IOEVENTFD_PIO : 0), true);
    if (libc().ioctl(this.#fd, KVM_IOEVENTFD, bytes) >= 0) return;
    const doing = flags === 0 ? "assignment" : "removal";
    const where = `${isPort ? "port " : ""}0x${address.toString(16)}`;
    throw new SyscallError("KVM_IOEVENTFD", errno(), `${doing} of ${size} bytes at ${where}`);
  }
}

function create(device: number): number {
  for (;;) {
    const fd = libc().ioctlNumber(device, KVM_CREATE_VM, 0n);
    if (fd >= 0) return fd;
    const code = errno();
    // A signal came meanwhile.
    if (code === Errno.EINTR) continue;
    const remedy = code === Errno.EBUSY ? "end the other hypervisor of this host" : undefined;
    throw new SyscallError("KVM_CREATE_VM", code, undefined, remedy);
  }
}
