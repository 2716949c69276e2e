/** The machine of an incoming stream, as its source describes it before the first page. */

import { MigrationError } from "../../migration/migration_error.ts";
import type { Command } from "../../migration/protocol/command.ts";
import type { Configuration } from "../../migration/protocol/configuration.ts";
import type { BlockEntry } from "../../migration/protocol/ram.ts";
import type { StreamDecoderOptions } from "../../migration/protocol/stream_decoder.ts";
import type { RamSection, StreamMachine } from "../../migration/protocol/stream_machine.ts";
import { unknownBitmap } from "./memory_account.ts";
import { pageSizesOf, requireNoCapabilities } from "./source_features.ts";

/** Collects what is said of the machine until it is whole. */
export class DescribedMachine {
  readonly #blocks: BlockEntry[] = [];
  #configuration: Configuration | undefined;
  #targetPageSize = 4096;
  #ramSection: RamSection | undefined;
  #pageSizeSummary: number | undefined;
  /** Bytes of the blocks that are still to be named. */
  #announced = 0;

  /** Whether the source has said that it may switch to postcopy. */
  get advised(): boolean {
    return this.#pageSizeSummary !== undefined;
  }

  /** Takes the machine that another has read, and is no more. */
  adopt(
    { configuration, targetPageSize, blocks, ramSection, pageSizeSummary }: StreamMachine,
  ): void {
    this.#configuration = configuration;
    this.#targetPageSize = targetPageSize;
    this.#blocks.push(...blocks);
    this.#ramSection = ramSection;
    this.#pageSizeSummary = pageSizeSummary;
  }

  /** What a decoder has to know beforehand that goes on with another connection. */
  resumed(): StreamDecoderOptions {
    const { id: ramSectionId } = this.#ramSection!;
    return { resumed: true, targetPageSize: this.#targetPageSize, ramSectionId };
  }

  /**
   * Takes the configuration.
   *
   * @throws {MigrationError} for capabilities that cannot be
   */
  configure(configuration: Configuration): void {
    requireNoCapabilities(configuration);
    if (configuration.targetPageBits !== undefined) {
      this.#targetPageSize = 2 ** configuration.targetPageBits;
    }
    this.#configuration = configuration;
  }

  /**
   * Takes the sizes of its pages.
   *
   * @throws {MigrationError} for page sizes that cannot be
   */
  advise(command: Extract<Command, { kind: "advise" }>): void {
    this.#pageSizeSummary = pageSizesOf(command, this.#targetPageSize);
  }

  /** Takes the section that its memory comes in. */
  section(section: RamSection): void {
    this.#ramSection = section;
  }

  /** Takes the length of all blocks together, in bytes. */
  announce(total: number): void {
    this.#announced = total;
  }

  /**
   * Takes a block.
   *
   * @returns the machine, when that was the last; else undefined
   * @throws {MigrationError} `UNSUPPORTED` when the source has not said its type
   */
  block(entry: BlockEntry): StreamMachine | undefined {
    this.#blocks.push(entry);
    this.#announced -= entry.usedLength;
    if (this.#announced > 0) return undefined;
    if (this.#configuration === undefined) {
      throw new MigrationError(
        "UNSUPPORTED",
        "Source does not say its machine type: use one that does, all since QEMU 2.4",
      );
    }
    const summary = this.#pageSizeSummary;
    return {
      configuration: this.#configuration,
      ramSection: this.#ramSection!,
      targetPageSize: this.#targetPageSize,
      blocks: this.#blocks,
      ...summary === undefined ? {} : { pageSizeSummary: summary },
    };
  }

  /**
   * Sees that a block is its.
   *
   * @throws {MigrationError} when there is none of that name
   */
  requireBlock(name: string): void {
    if (!this.#blocks.some((entry) => entry.name === name)) throw unknownBitmap(name);
  }
}
