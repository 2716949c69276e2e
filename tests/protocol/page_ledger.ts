import { type BlockEntry, type Command, IgnoreStream } from "../../migration/protocol/mod.ts";

const PAGE_SIZE = 4096;
/** Where a page came from, as bits. */
export const CAME = { PRECOPY: 1, MAIN: 2, PREEMPT: 4, REQUESTED: 8, BITMAP: 16 } as const;

/**
 * Keeps account of every page of a recorded migration: what came before the switchover and was not
 * discarded, what came after it, by which channel, and what was asked for.
 */
export class PageLedger {
  /** A byte of {@linkcode CAME} bits a page, by block. */
  readonly blocks = new Map<string, Uint8Array>();
  /** Pages sent that were there already: none in a right migration. */
  sentTwice = 0;

  /** A block of the block list. */
  add(entry: BlockEntry): void {
    this.blocks.set(entry.name, new Uint8Array(entry.usedLength / PAGE_SIZE));
  }

  /** Forgets what came of a range. */
  discard(block: string, start: number, length: number): void {
    this.#of(block).fill(0, start / PAGE_SIZE, (start + length) / PAGE_SIZE);
  }

  /** Marks a page; after the switchover no page may come twice. */
  mark(block: string, offset: number, came: number): void {
    const pages = this.#of(block);
    const page = offset / PAGE_SIZE;
    if (page >= pages.length) throw new Error(`Page outside ${block}: ${page}`);
    const there = CAME.PRECOPY | CAME.MAIN | CAME.PREEMPT;
    const postcopy = CAME.MAIN | CAME.PREEMPT;
    if ((came & postcopy) !== 0 && (pages[page]! & there) !== 0) this.sentTwice++;
    pages[page]! |= came;
  }

  /** Pages that have all bits of `with_` and none of `without`. */
  count(with_: number, without = 0): number {
    let count = 0;
    for (const pages of this.blocks.values()) {
      for (const page of pages) {
        if ((page & with_) === with_ && (page & without) === 0) count++;
      }
    }
    return count;
  }

  /** A block's pages. */
  #of(block: string): Uint8Array {
    const pages = this.blocks.get(block);
    if (pages === undefined) throw new Error(`Unknown block: ${block}`);
    return pages;
  }
}

/** Enters what a main or preempt channel brings into a ledger, and keeps the rest for the tests. */
export class LedgerStream extends IgnoreStream {
  readonly commands: Command[] = [];
  readonly order: string[] = [];
  package: Uint8Array = new Uint8Array(0);
  ends = 0;
  readonly #ledger: PageLedger;
  #came: number;
  #block = "";

  /** @param came What its pages are marked with until the package comes. */
  constructor(ledger: PageLedger, came: number) {
    super();
    this.#ledger = ledger;
    this.#came = came;
  }

  override blockEntry(entry: BlockEntry): void {
    this.#ledger.add(entry);
  }
  override block(name: string): void {
    this.#block = name;
  }
  override page(offset: number): void {
    this.#ledger.mark(this.#block, offset, this.#came);
  }
  override zeroPage(offset: number): void {
    this.#ledger.mark(this.#block, offset, this.#came);
  }
  override endOfSection(): void {
    this.ends++;
  }
  override sectionStart(): void {
    this.order.push("ram start");
  }
  override sectionPart(): void {
    if (this.order.at(-1) !== "ram parts") this.order.push("ram parts");
  }
  override sectionEnd(): void {
    this.order.push("ram end");
  }
  override endOfStream(): void {
    this.order.push("end of stream");
  }
  override command(command: Command): void {
    this.commands.push(command);
    const kind = command.kind === "ping" ? `ping ${command.value}` : command.kind;
    if (kind !== "discard" || this.order.at(-1) !== "discard") this.order.push(kind);
    if (command.kind !== "discard") return;
    for (const { start, length } of command.ranges) {
      this.#ledger.discard(command.block, start, length);
    }
  }
  override packaged(length: number): void {
    this.order.push("packaged");
    this.package = new Uint8Array(length);
    this.#packageAt = 0;
    this.#came = CAME.MAIN;
  }
  #packageAt = 0;
  override packagedData(bytes: Uint8Array, at: number, length: number): void {
    this.package.set(bytes.subarray(at, at + length), this.#packageAt);
    this.#packageAt += length;
  }
}
