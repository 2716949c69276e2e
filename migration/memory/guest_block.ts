/** Where a guest's memory lies in a process. */

/** A RAM block of a guest, mapped in this process. Plain data, for `postMessage`. */
export interface GuestBlock {
  /** The block's name in the stream, for example `"pc.ram"`. */
  readonly name: string;
  /** Address of its first byte in this process. */
  readonly address: number;
  /** Bytes. */
  readonly length: number;
  /**
   * The memfd behind it, or -1 for anonymous memory. At a destination a second mapping is safe only
   * once the migration is completed: a touch of a missing page there is no fault here, and makes a
   * zero page. At a source what is written through a second mapping is not seen to be dirty.
   */
  readonly fd: number;
  /** Bytes of a host page: 4096, or 2 MiB or 1 GiB of hugetlbfs. */
  readonly pageSize: number;
}
