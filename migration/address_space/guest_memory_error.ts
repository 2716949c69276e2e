/** What goes wrong where regions of guest memory meet the memory of this process and its kernel. */

import type { FlatRange } from "./flat_view.ts";

/** Machine-readable reasons why a {@linkcode GuestMemoryError} was thrown. */
export type GuestMemoryErrorCode =
  /** A RAM region is of a block that this process does not have. */
  | "UNKNOWN_BLOCK"
  /** A RAM region reaches past the end of its block. */
  | "PAST_BLOCK"
  /** No RAM is at a guest-physical address. */
  | "NOT_RAM"
  /** Bytes wanted as one piece lie in more than one range of RAM, or reach past one. */
  | "CROSSES_RANGES"
  /** The kernel takes no userfaultfd range. */
  | "USERFAULT_REFUSED"
  /** RAM of which the processors can see no page, because guest and host pages do not line up. */
  | "MISALIGNED"
  /** All memory slots of the virtual machine are in use. */
  | "NO_SLOT"
  /** KVM does not take a memory slot. */
  | "SLOT_REFUSED"
  /** KVM does not take an I/O event, or the event has no eventfd. */
  | "EVENT_REFUSED";

/** Guest memory that cannot be used as asked for. */
export class GuestMemoryError extends Error {
  /** The class's name. */
  override readonly name = "GuestMemoryError";
  /** Machine-readable reason. */
  readonly code: GuestMemoryErrorCode;
  /** The guest-physical address of the range or event that it is about; undefined when it has none. */
  readonly address: number | undefined;

  /**
   * Makes the error.
   *
   * @param code machine-readable reason
   * @param address guest-physical address of the range or event, if it has one
   * @param message what happened and what to do about it
   */
  constructor(
    code: GuestMemoryErrorCode,
    address: number | undefined,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.code = code;
    this.address = address;
  }
}

/** Names a range for a message, for example `"pc.ram 0xc0000 to 0xfffff"`. */
export function rangeText({ region, start, length }: FlatRange): string {
  return `${region.name} ${addressText(start)} to ${addressText(start + length - 1)}`;
}

/** An address for a message, for example `"0xfee00000"`. */
export function addressText(address: number): string {
  return `0x${address.toString(16)}`;
}
