import type {
  BlockEntry,
  Command,
  Configuration,
  ReturnPathHandler,
  StreamHandler,
} from "../../migration/protocol/mod.ts";

/**
 * Writes down the events of a decoder, one line each, bytes as length and hash. Bytes that come in
 * pieces make one line, however they were cut.
 */
export class EventLog implements StreamHandler, ReturnPathHandler {
  readonly #lines: string[] = [];
  /** Target page size, as the configuration says. */
  #pageSize = 4096;
  #kind = "";
  #length = 0;
  #hash = 0;

  /** The events so far. */
  get lines(): readonly string[] {
    this.#flush();
    return this.#lines;
  }

  block(name: string): void {
    this.#add("block", name);
  }
  page(offset: number, bytes: Uint8Array, at: number): void {
    this.#add("page", offset, hash(bytes, at, this.#pageSize));
  }
  zeroPage(offset: number, fill: number): void {
    this.#add("zeroPage", offset, fill);
  }
  xbzrlePage(offset: number, bytes: Uint8Array, at: number, length: number): void {
    this.#add("xbzrlePage", offset, length, hash(bytes, at, length));
  }
  compressedPage(offset: number, bytes: Uint8Array, at: number, length: number): void {
    this.#add("compressedPage", offset, length, hash(bytes, at, length));
  }
  blockList(total: number): void {
    this.#add("blockList", total);
  }
  blockEntry(entry: BlockEntry): void {
    this.#add("blockEntry", JSON.stringify(entry));
  }
  mappedRegion(bytes: Uint8Array, at: number, length: number): void {
    this.#piece("mappedRegion", bytes, at, length);
  }
  multifdFlush(): void {
    this.#add("multifdFlush");
  }
  endOfSection(): void {
    this.#add("endOfSection");
  }
  header(): void {
    this.#add("header");
  }
  configuration(configuration: Configuration): void {
    this.#pageSize = 2 ** (configuration.targetPageBits ?? 12);
    this.#add("configuration", JSON.stringify(configuration));
  }
  sectionStart(id: number, name: string, instance: number, version: number): void {
    this.#add("sectionStart", id, name, instance, version);
  }
  sectionPart(id: number): void {
    this.#add("sectionPart", id);
  }
  sectionEnd(id: number): void {
    this.#add("sectionEnd", id);
  }
  sectionFooter(id: number): void {
    this.#add("sectionFooter", id);
  }
  command(command: Command): void {
    this.#add("command", JSON.stringify(command));
  }
  packaged(length: number): void {
    this.#add("packaged", length);
  }
  packagedData(bytes: Uint8Array, at: number, length: number): void {
    this.#piece("packagedData", bytes, at, length);
  }
  deviceState(bytes: Uint8Array, at: number, length: number): void {
    this.#piece("deviceState", bytes, at, length);
  }
  endOfStream(): void {
    this.#add("endOfStream");
  }
  vmDescription(length: number): void {
    this.#add("vmDescription", length);
  }
  vmDescriptionData(bytes: Uint8Array, at: number, length: number): void {
    this.#piece("vmDescriptionData", bytes, at, length);
  }
  shut(value: number): void {
    this.#add("shut", value);
  }
  pong(value: number): void {
    this.#add("pong", value);
  }
  requestPages(block: string, start: number, length: number): void {
    this.#add("requestPages", block, start, length);
  }
  receivedBitmap(block: string, size: number): void {
    this.#add("receivedBitmap", block, size);
  }
  receivedBitmapData(bytes: Uint8Array, at: number, length: number): void {
    this.#piece("receivedBitmapData", bytes, at, length);
  }
  receivedBitmapEnd(): void {
    this.#add("receivedBitmapEnd");
  }
  resumeAck(value: number): void {
    this.#add("resumeAck", value);
  }
  switchoverAck(): void {
    this.#add("switchoverAck");
  }
  extensions(names: readonly string[]): void {
    this.#add("extensions", ...names);
  }

  #add(...parts: (string | number)[]): void {
    this.#flush();
    this.#lines.push(parts.join(" "));
  }

  #piece(kind: string, bytes: Uint8Array, at: number, length: number): void {
    if (kind !== this.#kind) this.#flush();
    this.#hash = hash(bytes, at, length, this.#kind === kind ? this.#hash : undefined);
    this.#kind = kind;
    this.#length += length;
  }

  #flush(): void {
    if (this.#kind === "") return;
    this.#lines.push(`${this.#kind} ${this.#length} ${this.#hash}`);
    this.#kind = "";
    this.#length = 0;
  }
}

/** FNV-1a. */
function hash(bytes: Uint8Array, at: number, length: number, start = 0x811c9dc5): number {
  let value = start;
  for (let i = at; i < at + length; i++) value = Math.imul(value ^ bytes[i]!, 0x01000193);
  return value >>> 0;
}

/** A handler that passes every event to several. */
export function tee<T extends object>(...handlers: T[]): T {
  return new Proxy({} as T, {
    get: (_, name) => (...args: unknown[]) => {
      for (const handler of handlers) {
        (handler as Record<string | symbol, (...args: unknown[]) => void>)[name]!(...args);
      }
    },
  });
}
