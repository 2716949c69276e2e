/** Firmware that does nothing: a guest that runs, halts at once, and never touches its memory. */

/** Bytes: the least that a PC of QEMU's takes. */
const SIZE = 65536;
/** Where a processor begins, from the end of the firmware. */
const RESET_VECTOR = 16;
/** cli; hlt; jmp back to the hlt, should anything wake it. */
const CODE = [0xfa, 0xf4, 0xeb, 0xfd];

/** Builds the firmware's image. */
export function haltedBios(): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(SIZE);
  bytes.set(CODE, SIZE - RESET_VECTOR);
  return bytes;
}
