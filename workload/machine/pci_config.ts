/** The configuration space of a PCI function: its first 64 bytes (PCI Local Bus Specification 3.0, 6.1). */

/** Bytes of a configuration space; PCI Express has more, which the models do not use. */
export const CONFIG_BYTES = 256;

/** Where registers are. */
export const CONFIG = {
  VENDOR: 0x00,
  DEVICE: 0x02,
  COMMAND: 0x04,
  CLASS: 0x08,
  HEADER_TYPE: 0x0e,
  BAR: 0x10,
  SUBSYSTEM: 0x2c,
  INTERRUPT_LINE: 0x3c,
} as const;

/** Bits of the command register that say what a function answers to, and may do. */
export const COMMAND = { IO: 1, MEMORY: 2, BUS_MASTER: 4, NO_INTERRUPT: 0x400 } as const;

/** How a BAR is mapped. */
export type BarKind = "io" | "memory" | "memory64";

/** Low bits of a BAR: what it is; the guest cannot write them. */
const BAR_TYPE: Readonly<Record<BarKind, number>> = { io: 1, memory: 0, memory64: 0x0c };

/** A BAR of a function: where it is, and how big. */
export interface BarLayout {
  /** From 0; a BAR of 64 bits takes the next as well. */
  readonly index: number;
  /** How it is mapped. */
  readonly kind: BarKind;
  /** Bytes, a power of two. */
  readonly size: number;
}

/** The configuration space of one function, with the bits that the guest may write. */
export class PciConfig {
  /** All bytes; multi-byte registers are little-endian. */
  readonly bytes: Uint8Array<ArrayBuffer> = new Uint8Array(CONFIG_BYTES);
  readonly #view = new DataView(this.bytes.buffer);
  readonly #writable = new Uint8Array(CONFIG_BYTES);

  /**
   * @param vendor vendor id
   * @param device device id
   * @param bars its BARs
   */
  constructor(vendor: number, device: number, bars: readonly BarLayout[]) {
    this.#view.setUint16(CONFIG.VENDOR, vendor, true);
    this.#view.setUint16(CONFIG.DEVICE, device, true);
    const writable = new DataView(this.#writable.buffer);
    writable.setUint16(
      CONFIG.COMMAND,
      COMMAND.IO | COMMAND.MEMORY | COMMAND.BUS_MASTER | COMMAND.NO_INTERRUPT,
      true,
    );
    this.#writable[CONFIG.INTERRUPT_LINE] = 0xff;
    for (const { index, kind, size } of bars) {
      const at = CONFIG.BAR + 4 * index;
      this.#view.setUint32(at, BAR_TYPE[kind], true);
      writable.setUint32(at, -size >>> 0, true);
      if (kind === "memory64") writable.setUint32(at + 4, 0xffff_ffff, true);
    }
  }

  /** Lets the guest write a register of the device's own. */
  makeWritable(offset: number, length: number): void {
    this.#writable.fill(0xff, offset, offset + length);
  }

  /** The command register. */
  get command(): number {
    return this.#view.getUint16(CONFIG.COMMAND, true);
  }

  /** Vendor in the lower, device in the upper 16 bits. */
  get identity(): number {
    return this.#view.getUint32(CONFIG.VENDOR, true);
  }

  /** 32 bits of a register. */
  u32(offset: number): number {
    return this.#view.getUint32(offset, true);
  }

  /** Writes as the guest does: bits that are not writable stay. */
  write(offset: number, value: number, size: 1 | 2 | 4): void {
    for (let i = 0; i < size; i++) {
      const mask = this.#writable[offset + i]!;
      const old = this.bytes[offset + i]!;
      this.bytes[offset + i] = (old & ~mask) | ((value >>> (8 * i)) & mask);
    }
  }

  /** Writes a BAR's address, which is a multiple of its size. */
  writeBar({ index, kind }: BarLayout, address: number): void {
    const at = CONFIG.BAR + 4 * index;
    this.write(at, address >>> 0, 4);
    if (kind === "memory64") this.write(at + 4, Math.floor(address / 2 ** 32), 4);
  }

  /**
   * Returns where a BAR is to be mapped: undefined while the command register has it off, and at 0,
   * where firmware leaves those that it gave no address.
   */
  barAddress({ index, kind }: BarLayout): number | undefined {
    const bit = kind === "io" ? COMMAND.IO : COMMAND.MEMORY;
    if ((this.command & bit) === 0) return undefined;
    const at = CONFIG.BAR + 4 * index;
    const low = (this.#view.getUint32(at, true) & (kind === "io" ? ~3 : ~15)) >>> 0;
    const high = kind === "memory64" ? this.#view.getUint32(at + 4, true) : 0;
    const address = high * 2 ** 32 + low;
    return address === 0 ? undefined : address;
  }
}
