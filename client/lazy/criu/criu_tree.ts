/** A process tree, as its processes see it. */

import type { FaultReader } from "../../../ffi/fault_reader.ts";
import type { AddressHooks } from "./address_placer.ts";
import type { TouchLog } from "../touch_log.ts";
import type { PageServerLink } from "./page_server_link.ts";
import type { TreeRecord } from "./tree_record.ts";

/** What a process needs of its tree, which has such processes. */
export interface CriuTree<Process> {
  readonly link: PageServerLink | undefined;
  readonly hooks: AddressHooks;
  /** Where touches are noted, if they are, by the pages of all processes. */
  readonly touches: TouchLog | undefined;
  /** Number of a process's first page among those, by its number in the images. */
  firstPageOf(imageId: number): number;
  /** Whether CRIU has said that all are restored. */
  readonly restored: boolean;
  /** The next step comes after so many nanoseconds at the latest. */
  wait(nanoseconds: number): void;
  /** The next step comes behind the turns of others. */
  again(): void;
  /** What outlives the server, where the tree is held. */
  readonly record: TreeRecord | undefined;
  /** Has the userfaultfds of children held that came with messages just read, before anything else is done. */
  holdChildren(reader: FaultReader, count: number): void;
  /** A child is there, whose userfaultfd is the tree's from here on. */
  forked(parent: Process, uffd: number): void;
  /** Somebody waits, and cannot be answered. */
  held(process: Process, reason: string): void;
}
