/** Commands of the main channel, as plain data. */

/** A byte range of a RAM block whose content the destination is to forget. */
export interface DiscardRange {
  /** First byte, from the start of the block. */
  readonly start: number;
  /** Length in bytes. */
  readonly length: number;
}

/** A COMMAND element of the main channel, except PACKAGED (docs/protocol.md section 1.4). */
export type Command =
  | { readonly kind: "open-return-path" }
  /** Answered by PONG with the same value. */
  | { readonly kind: "ping"; readonly value: number }
  /** `ram` is absent when only dirty bitmaps are to be migrated in postcopy. */
  | {
    readonly kind: "advise";
    readonly ram?: {
      /** Bitwise OR of the page sizes of all migrated blocks, bytes. */
      readonly pageSizeSummary: number;
      /** Target page size, bytes. */
      readonly targetPageSize: number;
    };
  }
  | { readonly kind: "listen" }
  | { readonly kind: "run" }
  | { readonly kind: "discard"; readonly block: string; readonly ranges: readonly DiscardRange[] }
  | { readonly kind: "enable-colo" }
  | { readonly kind: "resume" }
  /** The source asks for a block's receive bitmap. */
  | { readonly kind: "receive-bitmap"; readonly block: string }
  /** 10.0 and later only; older destinations die of it. */
  | { readonly kind: "switchover-start" }
  /** What the stream does beyond QEMU's protocol: see extensions.ts. */
  | { readonly kind: "extensions"; readonly names: readonly string[] }
  | AbsentPagesCommand;

/** Pages of a block that the source does not hold: they are zero, and never sent. */
export interface AbsentPagesCommand {
  /** Which command it is. */
  readonly kind: "absent-pages";
  /** Name of the block. */
  readonly block: string;
  /** Of each run its first page, counted from the start of the block, and how many; in order. */
  readonly runs: readonly number[];
}
