/** A processor of a KVM virtual machine, in real mode: reads, writes and signals as a guest does. */

import { errno, libc } from "../../ffi/libc.ts";
import { Errno, SyscallError } from "../../ffi/errno.ts";
import { kvmAbsence, type KvmMachine } from "../../ffi/kvm.ts";
import { MappedMemory, viewMemory } from "../../ffi/memory.ts";
import { type SkipReason, skipReason } from "../support/skip.ts";

// From include/uapi/linux/kvm.h, and arch/x86/include/uapi/asm/kvm.h for the registers.
const KVM_CREATE_VCPU = 0xae41;
const KVM_RUN = 0xae80;
const KVM_SET_REGS = 0x4090_ae82;
const KVM_GET_SREGS = 0x8138_ae83;
const KVM_SET_SREGS = 0x4138_ae84;
const EXIT_IO = 2;
const EXIT_HLT = 5;
const EXIT_MMIO = 6;
/** Indices of registers in `struct kvm_regs`. */
const RAX = 0;
const RBX = 1;
const RDX = 3;
const RIP = 16;
const RFLAGS = 17;
/** Offsets of segments in `struct kvm_sregs`, and of a selector in a segment. */
const CS = 0;
const DS = 24;
const SELECTOR = 12;
/** A processor's mapping begins with a page of `struct kvm_run` and one of the data of port I/O. */
const RUN_BYTES = 8192;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;

/** Guest-physical address of the page with the processor's program. */
const CODE = 0xff000;
const RESULT_PORT = 0x10;

/** By the offset of the first byte; encodings from the Intel SDM volume 2. */
const PROGRAM = {
  0x00: [0x8a, 0x07, /* mov al,[bx] */ 0xe6, RESULT_PORT, /* out RESULT_PORT,al */ 0xf4 /* hlt */],
  0x10: [0x89, 0x07, /* mov [bx],ax */ 0xf4 /* hlt */],
  0x20: [0xef, /* out dx,ax */ 0xf4 /* hlt */],
} as const;
const READ = 0x00;
const WRITE = 0x10;
const OUT = 0x20;

/** The need for KVM, and for the processor that {@linkcode KvmProcessor} is. */
export function needsKvm(): SkipReason | undefined {
  if (Deno.build.arch !== "x86_64") {
    return skipReason("no support", `Needs an x86-64 processor, this is: ${Deno.build.arch}`);
  }
  const absence = kvmAbsence();
  return absence === undefined ? undefined : skipReason("no support", absence);
}

/** A processor as threads share it: plain data. One thread may use it at a time. */
export interface ProcessorHandle {
  readonly fd: number;
  /** Where its `struct kvm_run` is mapped. */
  readonly run: number;
}

/** A processor that this object owns. Guest-physical addresses of its accesses are below 1 MiB. */
export class KvmProcessor implements Disposable {
  readonly handle: ProcessorHandle;
  readonly #run: MappedMemory;
  readonly #program: MappedMemory;

  /** Makes the machine's only processor; its program takes the last slot and the page at 0xff000. */
  constructor(machine: KvmMachine) {
    this.#program = MappedMemory.anonymous(4096);
    const bytes = this.#program.bytes();
    for (const [offset, code] of Object.entries(PROGRAM)) bytes.set(code, Number(offset));
    machine.setSlot(machine.slotLimit - 1, CODE, this.#program.address, 4096);
    const fd = checked("KVM_CREATE_VCPU", libc().ioctlNumber(machine.fd, KVM_CREATE_VCPU, 0n));
    const run = libc().mmap(0n, BigInt(RUN_BYTES), PROT_READ_WRITE, MAP_SHARED, fd, 0n);
    this.#run = MappedMemory.adopt(Number(run), RUN_BYTES, fd); // closes the descriptor too
    this.handle = { fd, run: Number(run) };
  }

  /** See {@linkcode readByte}. */
  read(address: number): number | undefined {
    return readByte(this.handle, address);
  }

  /** Writes a u16; returns whether it stayed inside of the guest. */
  write(address: number, value: number): boolean {
    return execute(this.handle, WRITE, address, value, 0).exits === 0;
  }

  /** Writes a u16 to a port; returns whether it stayed inside of the guest. */
  out(port: number, value: number): boolean {
    return execute(this.handle, OUT, 0, value, port).exits === 0;
  }

  [Symbol.dispose](): void {
    this.#run.close();
    this.#program.close();
  }
}

/** Reads a byte; undefined when the read left the guest because no memory is there. */
export function readByte(handle: ProcessorHandle, address: number): number | undefined {
  const { exits, result } = execute(handle, READ, address, 0, 0);
  return exits === 0 ? result : undefined;
}

/** Runs a part of the program to its end; counts the accesses that left the guest. */
function execute(
  { fd, run }: ProcessorHandle,
  entry: number,
  address: number,
  value: number,
  port: number,
): { exits: number; result: number } {
  setSegments(fd, address >>> 4);
  const registers = new BigUint64Array(18);
  registers[RAX] = BigInt(value);
  registers[RBX] = BigInt(address & 15);
  registers[RDX] = BigInt(port);
  registers[RIP] = BigInt(entry);
  registers[RFLAGS] = 2n; // a bit that is always set
  checked("KVM_SET_REGS", libc().ioctl(fd, KVM_SET_REGS, new Uint8Array(registers.buffer)));
  // struct kvm_run: exit_reason at 8; from 32 for I/O: u8 direction, u8 size, u16 port, u32 count,
  // u64 offset of the data.
  const state = new DataView(viewMemory(run, RUN_BYTES).buffer);
  let exits = 0;
  let result = -1;
  for (;;) {
    if (libc().ioctlNumber(fd, KVM_RUN, 0n) < 0) {
      const code = errno();
      if (code === Errno.EINTR) continue;
      throw new SyscallError("KVM_RUN", code);
    }
    const reason = state.getUint32(8, true);
    if (reason === EXIT_HLT) return { exits, result };
    if (reason === EXIT_IO && state.getUint16(34, true) === RESULT_PORT) {
      result = viewMemory(run + Number(state.getBigUint64(40, true)), 1)[0]!;
    } else if (reason === EXIT_IO || reason === EXIT_MMIO) exits++;
    else throw new Error(`KVM left the guest for an unknown reason: ${reason}`);
  }
}

function setSegments(fd: number, dataSelector: number): void {
  const bytes = new Uint8Array(0x138);
  checked("KVM_GET_SREGS", libc().ioctl(fd, KVM_GET_SREGS, bytes));
  const view = new DataView(bytes.buffer);
  for (const [segment, selector] of [[CS, CODE >>> 4], [DS, dataSelector]] as const) {
    view.setBigUint64(segment, BigInt(selector << 4), true);
    view.setUint16(segment + SELECTOR, selector, true);
  }
  checked("KVM_SET_SREGS", libc().ioctl(fd, KVM_SET_SREGS, bytes));
}

function checked(name: string, result: number): number {
  if (result < 0) throw new SyscallError(name, errno());
  return result;
}
