/** Where the pages of a mapped-ram file lie, which its block list says. */

import type { BlockEntry, Command } from "../../migration/protocol/mod.ts";
import { ContentsHandler } from "../stream/contents_handler.ts";
import { TRUNCATED_REMEDY } from "../image_error.ts";

/** Takes in the elements of a mapped-ram file, none of which holds a page. */
export class MappedRamHandler extends ContentsHandler {
  readonly #fileSize: number;

  /** @param fileSize bytes of the file, in which all blocks must lie */
  constructor(path: string, fileSize: number) {
    super(path);
    this.#fileSize = fileSize;
  }

  /** The decoder has seen that the block's bitmap and pages follow one another and the block before. */
  override blockEntry(entry: BlockEntry): void {
    super.blockEntry(entry);
    const { name, usedLength } = entry;
    const { pagesOffset } = entry.mapped!;
    this.regionEnd = pagesOffset + usedLength;
    if (this.regionEnd > this.#fileSize) {
      const problem =
        `Mapped-ram file of ${this.#fileSize} bytes ends before the pages of RAM block ` +
        `${name} do, ${usedLength} bytes`;
      throw this.error("truncated", problem, TRUNCATED_REMEDY, pagesOffset);
    }
  }

  override block(name: string): void {
    const problem = `Mapped-ram file with a page of RAM block ${name} in its stream`;
    throw this.error("malformed", problem, undefined, this.regionEnd);
  }

  override command(command: Command): void {
    super.command(command);
    if (command.kind !== "discard") return;
    const problem = `Mapped-ram file that discards memory of RAM block ${command.block}`;
    throw this.error("malformed", problem, undefined, this.regionEnd);
  }
}
