/** What a machine is made of. */

import { MachineError } from "./machine_error.ts";

/** Settings of a machine; all have defaults. */
export interface MachineOptions {
  /** Network devices with vhost backends in the kernel; default 1. */
  readonly netDevices?: number;
  /** Pairs of queues of each, with a vhost backend each; default 1. */
  readonly netQueues?: number;
  /** Block devices with a vhost-user backend; default 1. */
  readonly blockDevices?: number;
  /** Queues of each; default 1. */
  readonly blockQueues?: number;
  /**
   * Block devices that are stopped with a request in flight, whose memory is mapped again when they are
   * loaded; default 2, or all when there are fewer.
   */
  readonly busyBlockDevices?: number;
  /** Processors; default 4. */
  readonly processors?: number;
  /** Descriptors of a queue, a power of two; default 256. */
  readonly queueSize?: number;
  /** Bytes of RAM, a multiple of 2 MiB; default 64 MiB, or what the rings need. */
  readonly ramBytes?: number;
  /** RAM that may lie below 4 GiB, bytes, a multiple of 2 MiB; default 2 GiB, as of a q35. */
  readonly maxRamBelow4G?: number;
  /** Whether a flat view that is read while changes are pending throws; default false. */
  readonly debug?: boolean;
}

/** Settings with their defaults filled in. */
export type MachineSettings = Required<MachineOptions>;

/** Guest address of the first ring: what lies below is for firmware. */
export const RINGS_START: number = 2 ** 20;
/** Slots 2 to 30 of the root bus, eight functions each; the others are the chipset's. */
export const MOST_DEVICES: number = 29 * 8;

const MIB = 2 ** 20;
const RAM_STEP = 2 * MIB;
/** Bytes of the BIOS. */
export const BIOS_BYTES: number = 256 * 1024;
/** Bytes of the option ROMs. */
export const ROM_BYTES: number = 128 * 1024;
/** Bytes of the VGA's memory. */
export const VGA_BYTES: number = 16 * MIB;

/** Descriptor table, available ring and used ring of a queue, each aligned as the next needs it. */
export function ringBytes(queueSize: number): { available: number; used: number; total: number } {
  const available = 16 * queueSize;
  const used = alignUp(available + 6 + 2 * queueSize, 4);
  // A page of its own: queues of two devices never share one.
  return { available, used, total: alignUp(used + 6 + 8 * queueSize, 4096) };
}

/** Rounds up to a multiple of a power of two. */
export function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}

/** Queues of a network device: a pair for each, and one for control. */
export function netQueueCount(pairs: number): number {
  return 2 * pairs + 1;
}

/**
 * Fills in the defaults.
 *
 * @throws {MachineError} `BAD_OPTIONS` for a machine that cannot be
 */
export function machineSettings(options: MachineOptions = {}): MachineSettings {
  const { netDevices = 1, netQueues = 1, blockDevices = 1, blockQueues = 1 } = options;
  const { processors = 4, queueSize = 256, maxRamBelow4G = 2 ** 31, debug = false } = options;
  count("netDevices", netDevices, 0, MOST_DEVICES);
  count("netQueues", netQueues, 1, 256);
  count("blockDevices", blockDevices, 0, MOST_DEVICES - netDevices);
  count("blockQueues", blockQueues, 1, 1024);
  count("processors", processors, 1, 4096);
  const busyBlockDevices = options.busyBlockDevices ?? Math.min(2, blockDevices);
  count("busyBlockDevices", busyBlockDevices, 0, blockDevices);
  count("queueSize", queueSize, 2, 32768);
  if ((queueSize & (queueSize - 1)) !== 0) throw bad("queueSize", queueSize, "a power of two");
  const queues = netDevices * netQueueCount(netQueues) + blockDevices * blockQueues;
  // As much again for the buffers that the rings point to.
  const needed = RINGS_START + 2 * alignUp(queues * ringBytes(queueSize).total + MIB, RAM_STEP);
  const ramBytes = options.ramBytes ?? Math.max(64 * MIB, alignUp(needed, RAM_STEP));
  for (const [name, value] of Object.entries({ ramBytes, maxRamBelow4G })) {
    if (Number.isSafeInteger(value) && value > 0 && value % RAM_STEP === 0) continue;
    throw bad(name, value, "a multiple of 2 MiB");
  }
  if (maxRamBelow4G > 2 ** 31) throw bad("maxRamBelow4G", maxRamBelow4G, "at most 2 GiB");
  if (ramBytes < needed) {
    throw bad("ramBytes", ramBytes, `at least ${needed}, for the rings of ${queues} queues`);
  }
  return {
    netDevices,
    netQueues,
    blockDevices,
    blockQueues,
    busyBlockDevices,
    processors,
    queueSize,
    ramBytes,
    maxRamBelow4G,
    debug,
  };
}

/**
 * Returns the RAM blocks of a machine: the same settings give the same blocks at both ends.
 *
 * @throws {MachineError} `BAD_OPTIONS` for a machine that cannot be
 */
export function machineBlocks(
  options: MachineOptions = {},
): readonly { readonly name: string; readonly length: number }[] {
  return [
    { name: "pc.ram", length: machineSettings(options).ramBytes },
    { name: "pc.bios", length: BIOS_BYTES },
    { name: "pc.rom", length: ROM_BYTES },
    { name: "vga.vram", length: VGA_BYTES },
  ];
}

function count(name: string, value: number, least: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return;
  throw bad(name, value, `a whole number from ${least} to ${most}`);
}

function bad(name: string, value: number, use: string): MachineError {
  return new MachineError("BAD_OPTIONS", `Machine cannot have ${name} of: ${value}: use ${use}`);
}
