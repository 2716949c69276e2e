/** The main channel's elements as bytes. */

import type { Command } from "./command.ts";
import { encodeCommand, encodePackagedHead } from "./command_codec.ts";
import type { Configuration } from "./configuration.ts";
import { encodeConfiguration } from "./configuration_codec.ts";
import { ELEMENT, STREAM_MAGIC, STREAM_VERSION } from "./constants.ts";
import { RamEncoder } from "./ram_encoder.ts";
import { recordFormat } from "./record_format.ts";
import type { StreamHandler } from "./stream.ts";

/**
 * Encodes the main channel: the counterpart of {@linkcode StreamDecoder}, with the methods of its
 * handler. A decoder that drives an encoder reproduces the stream.
 *
 * It writes what it is told in the order it is told; the order is the caller's business.
 *
 * @example
 * ```ts
 * import { StreamEncoder } from "./mod.ts";
 *
 * const encoder = new StreamEncoder();
 * encoder.header();
 * encoder.configuration({ machine: "pc-q35-7.2" });
 * encoder.command({ kind: "open-return-path" });
 * encoder.command({ kind: "ping", value: 1 });
 * const bytes = encoder.take();
 * ```
 */
export class StreamEncoder extends RamEncoder implements StreamHandler {
  header(): void {
    this.writer.u32(STREAM_MAGIC);
    this.writer.u32(STREAM_VERSION);
  }

  configuration(configuration: Configuration): void {
    encodeConfiguration(this.writer, configuration);
    const { targetPageBits } = configuration;
    if (targetPageBits !== undefined) this.setFormat(recordFormat(2 ** targetPageBits));
  }

  sectionStart(id: number, name: string, instance: number, version: number): void {
    this.#section(ELEMENT.SECTION_START, id);
    this.writer.name(name);
    this.writer.u32(instance);
    this.writer.u32(version);
  }

  sectionPart(id: number): void {
    this.#section(ELEMENT.SECTION_PART, id);
  }

  sectionEnd(id: number): void {
    this.#section(ELEMENT.SECTION_END, id);
  }

  sectionFooter(id: number): void {
    this.#section(ELEMENT.SECTION_FOOTER, id);
  }

  command(command: Command): void {
    encodeCommand(this.writer, command);
  }

  packaged(length: number): void {
    encodePackagedHead(this.writer, length);
  }

  packagedData(bytes: Uint8Array, at: number, length: number): void {
    this.writer.bytes(bytes, at, length);
  }

  deviceState(bytes: Uint8Array, at: number, length: number): void {
    this.writer.bytes(bytes, at, length);
  }

  endOfStream(): void {
    this.writer.u8(ELEMENT.EOF);
  }

  vmDescription(length: number): void {
    this.writer.u8(ELEMENT.VM_DESCRIPTION);
    this.writer.u32(length);
  }

  vmDescriptionData(bytes: Uint8Array, at: number, length: number): void {
    this.writer.bytes(bytes, at, length);
  }

  #section(type: number, id: number): void {
    this.writer.u8(type);
    this.writer.u32(id);
  }
}
