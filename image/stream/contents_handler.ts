/** What the elements of a file that QEMU wrote say of its machine, wherever the pages lie. */

import { RamLayout } from "../../migration/memory/ram_layout.ts";
import {
  type BlockEntry,
  CAPABILITY,
  type Command,
  type Configuration,
  DEFAULT_TARGET_PAGE_SIZE,
  hasCapability,
  IgnoreStream,
} from "../../migration/protocol/mod.ts";
import { otherSection } from "../../migration/protocol/other_section.ts";
import type { RamSection } from "../../migration/protocol/stream_machine.ts";
import { DAMAGED_REMEDY, ImageError, type ImageErrorCode } from "../image_error.ts";
import type { CommandCount } from "../image.ts";

const RECAPTURE = "capture the machine again, without this";
const POSTCOPY_REMEDY = "this is a recording of a postcopy migration: capture one without postcopy";
/** Commands that only a postcopy migration sends, whose pages go over more than this stream. */
const POSTCOPY_COMMANDS: readonly Command["kind"][] = ["listen", "run", "resume", "receive-bitmap"];

/** Takes in all but the pages; what extends it knows where those are. */
export abstract class ContentsHandler extends IgnoreStream {
  /** Offset in the file of `bytes[0]` of what is being decoded. */
  origin = 0;
  /** The configuration as the stream has it. */
  streamConfiguration: Configuration | undefined;
  /** The memory section's identity. */
  ramSection: RamSection | undefined;
  /** The blocks as announced. */
  readonly blocks: BlockEntry[] = [];
  /** The blocks with their pages numbered; once all are announced. */
  layout: RamLayout | undefined;
  /** Offset in the file of the first section that cannot be delimited; -1 before it is met. */
  opaqueStart = -1;
  /** Offset in the file before which the decoder passes over what is left of a block's pages. */
  regionEnd = 0;
  /** The memory section came to its end. */
  ramEnded = false;
  /** The EOF byte came. */
  streamEnded = false;

  readonly #path: string;
  readonly #commands = new Map<string, number>();
  #bytesAnnounced = 0;
  #pageSize: number = DEFAULT_TARGET_PAGE_SIZE;

  /** @param path the image's name, for errors */
  constructor(path: string) {
    super();
    this.#path = path;
  }

  /** The commands met so far. */
  get commands(): CommandCount[] {
    return [...this.#commands].map(([kind, count]) => ({ kind, count }));
  }

  override configuration(configuration: Configuration): void {
    this.streamConfiguration = configuration;
    if (hasCapability(configuration, CAPABILITY.IGNORE_SHARED)) {
      throw this.error(
        "unsupported",
        "Capture with the capability x-ignore-shared, which leaves memory out",
        RECAPTURE,
      );
    }
    const { targetPageBits } = configuration;
    if (targetPageBits !== undefined) this.#pageSize = 2 ** targetPageBits;
    if (this.#pageSize !== DEFAULT_TARGET_PAGE_SIZE) {
      throw unsupportedPageSize(this.#path, this.#pageSize);
    }
  }

  override sectionStart(id: number, _name: string, instance: number, version: number): void {
    this.ramSection = { id, instance, version };
  }

  override sectionEnd(_id: number): void {
    this.ramEnded = true;
  }

  override blockEntry(entry: BlockEntry): void {
    this.blocks.push(entry);
  }

  override blockList(total: number): void {
    this.#bytesAnnounced = total;
  }

  override endOfSection(): void {
    this.requireLayout();
  }

  override command(command: Command): void {
    const { kind } = command;
    if (POSTCOPY_COMMANDS.includes(kind)) {
      throw this.error("unsupported", `Stream with the command ${kind}`, POSTCOPY_REMEDY);
    }
    this.#commands.set(kind, (this.#commands.get(kind) ?? 0) + 1);
  }

  override packaged(_length: number): void {
    throw this.error("unsupported", "Stream with a package of device state", POSTCOPY_REMEDY);
  }

  override deviceState(bytes: Uint8Array, at: number, _length: number): void {
    if (this.opaqueStart >= 0) return;
    this.opaqueStart = this.origin + at;
    const other = otherSection(bytes, at);
    if (other === undefined) return;
    throw this.error(
      "unsupported",
      `Capture with a section of unknown length, ${other.name},`,
      `capture again without it: ${other.remedy}`,
      this.opaqueStart,
    );
  }

  override endOfStream(): void {
    this.streamEnded = true;
  }

  /** Numbers the pages of the blocks, which are all announced by now or the stream is wrong. */
  protected requireLayout(): RamLayout {
    if (this.layout !== undefined) return this.layout;
    const announced = this.blocks.reduce((sum, block) => sum + block.usedLength, 0);
    if (announced === 0 || announced !== this.#bytesAnnounced) {
      throw this.error("malformed", "Capture without a list of RAM blocks");
    }
    try {
      this.layout = new RamLayout(this.blocks, this.#pageSize);
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : `${cause}`;
      throw this.error("malformed", message, undefined, this.origin, cause);
    }
    return this.layout;
  }

  /** Makes the error for a place in the file, if one can be named. */
  protected error(
    code: ImageErrorCode,
    problem: string,
    remedy: string = DAMAGED_REMEDY,
    offset?: number,
    cause?: unknown,
  ): ImageError {
    const options = {
      ...(offset === undefined ? {} : { offset }),
      ...(cause === undefined ? {} : { cause }),
    };
    return new ImageError(code, this.#path, problem, remedy, options);
  }
}

/** The error for a machine whose pages are of another size than those that can be served. */
export function unsupportedPageSize(path: string, size: number, cause?: unknown): ImageError {
  return new ImageError(
    "unsupported",
    path,
    `Capture of a machine with pages of ${size} bytes`,
    "only machines with pages of 4096 bytes can be served yet",
    { cause },
  );
}
