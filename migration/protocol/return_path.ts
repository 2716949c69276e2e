/** What a destination says to its source. */

/** Receives the messages a destination sends to its source (docs/protocol.md section 2). */
export interface ReturnPathHandler {
  /** Last message; 0 when the destination is content. */
  shut(value: number): void;
  /** Answer to the PING of the same value. */
  pong(value: number): void;
  /**
   * The destination needs `length` bytes at `start` of `block`: normally one page of the block's page size.
   *
   * The decoder fills in the block for requests that do not name it, and the same name is always the same
   * string object. The encoder names it only when it differs from the previous request's.
   */
  requestPages(block: string, start: number, length: number): void;
  /** A receive bitmap of `size` bytes follows through `receivedBitmapData`. Throw when the size is not the block's. */
  receivedBitmap(block: string, size: number): void;
  /** Next bytes of the bitmap, in order: bit i of byte i/8, lowest first, is target page i; 1 = received. */
  receivedBitmapData(bytes: Uint8Array, at: number, length: number): void;
  /** The bitmap's end mark was right. */
  receivedBitmapEnd(): void;
  /** Answer to RESUME; 1 = ready. */
  resumeAck(value: number): void;
  /** The destination approves the switchover (8.1 and later). */
  switchoverAck(): void;
  /** What the destination understands beyond QEMU's protocol: see extensions.ts. */
  extensions(names: readonly string[]): void;
}
