/** What the main channel says, for those who receive or send it. */

import type { Command } from "./command.ts";
import type { Configuration } from "./configuration.ts";
import type { RamHandler } from "./ram.ts";

/**
 * Receives the elements of the main channel in order (docs/protocol.md section 1.1).
 *
 * {@linkcode StreamDecoder} calls it, {@linkcode StreamEncoder} implements it, so a decoder driving
 * an encoder reproduces the bytes. What `bytes` holds is valid during the call only.
 */
export interface StreamHandler extends RamHandler {
  /** The eight bytes magic and version 3. Not called for a resumed stream. */
  header(): void;
  /** Called when the first byte after the configuration is known (or the input finished). */
  configuration(configuration: Configuration): void;
  /** SECTION_START of `ram`; its records follow until `endOfSection`, then the footer. */
  sectionStart(id: number, name: string, instance: number, version: number): void;
  /** SECTION_PART of `ram`. */
  sectionPart(id: number): void;
  /** SECTION_END of `ram`. */
  sectionEnd(id: number): void;
  /** The footer of the section that was open. */
  sectionFooter(id: number): void;
  /** Any command but PACKAGED. */
  command(command: Command): void;
  /** PACKAGED: `length` bytes follow through `packagedData`; none when it is 0. See {@linkcode splitPackage}. */
  packaged(length: number): void;
  /** The next bytes of the package, in order. */
  packagedData(bytes: Uint8Array, at: number, length: number): void;
  /**
   * Everything from the first SECTION_FULL (or the SECTION_START of an iterable that is not `ram`)
   * outside a package to the end of the input, in pieces, type byte included. Such payloads carry no
   * length, so nothing after them can be told apart going forwards; see {@linkcode splitDeviceState}.
   * The first piece has a whole head, which tells of a section that nobody can take: {@linkcode otherSection}.
   */
  deviceState(bytes: Uint8Array, at: number, length: number): void;
  /** The EOF byte. */
  endOfStream(): void;
  /** VMDESCRIPTION: `length` bytes of JSON follow. Only reached when no opaque device state came before. */
  vmDescription(length: number): void;
  /** The next bytes of the description, in order. */
  vmDescriptionData(bytes: Uint8Array, at: number, length: number): void;
}

/** A {@linkcode StreamHandler} that does nothing: extend it and override what you need. */
export class IgnoreStream implements StreamHandler {
  block(_name: string): void {}
  page(_offset: number, _bytes: Uint8Array, _at: number): void {}
  zeroPage(_offset: number, _fill: number): void {}
  xbzrlePage(_offset: number, _bytes: Uint8Array, _at: number, _length: number): void {}
  compressedPage(_offset: number, _bytes: Uint8Array, _at: number, _length: number): void {}
  blockList(_total: number): void {}
  blockEntry(_entry: Parameters<RamHandler["blockEntry"]>[0]): void {}
  mappedRegion(_bytes: Uint8Array, _at: number, _length: number): void {}
  multifdFlush(): void {}
  endOfSection(): void {}
  header(): void {}
  configuration(_configuration: Configuration): void {}
  sectionStart(_id: number, _name: string, _instance: number, _version: number): void {}
  sectionPart(_id: number): void {}
  sectionEnd(_id: number): void {}
  sectionFooter(_id: number): void {}
  command(_command: Command): void {}
  packaged(_length: number): void {}
  packagedData(_bytes: Uint8Array, _at: number, _length: number): void {}
  deviceState(_bytes: Uint8Array, _at: number, _length: number): void {}
  endOfStream(): void {}
  vmDescription(_length: number): void {}
  vmDescriptionData(_bytes: Uint8Array, _at: number, _length: number): void {}
}
