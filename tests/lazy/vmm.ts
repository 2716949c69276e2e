/** The VMM of the tests (vmm.c): built once, started as often as one likes. */

import { assertEquals, assertMatch } from "@std/assert";
import { programOf } from "../support/c_program.ts";
import { firstOf, needsCommand, needsRoot } from "../support/skip.ts";
import { LineProcess } from "./line_process.ts";

/** What tests with a VMM need. */
export const needsVmm = firstOf(needsCommand("gcc", "gcc"), needsRoot());

const PAGE = 4096;

/** A region of the VMM's. */
export interface VmmRegion {
  readonly length: number;
  readonly offset: number;
  readonly pageSize?: number;
}

/** Bytes. */
export const MIB = 1024 * 1024;

/** A memory of 8 MiB in two regions. */
export const TWO_REGIONS: readonly VmmRegion[] = [
  { length: 3 * MIB, offset: 0 },
  { length: 5 * MIB, offset: 3 * MIB },
];

/** How a VMM hands over. */
export interface VmmOptions {
  readonly regions: readonly VmmRegion[];
  readonly version?: "1.1" | "1.7" | "1.12" | "dev" | "nydus";
  /** Bytes of each piece of the message; 0 for all at once. */
  readonly piece?: number;
  /** Whether the connection stays open. */
  readonly keep?: boolean;
  /** Whether its memory is registered for asynchronous write protection too; then the connection stays open. */
  readonly track?: boolean;
  /** Words that start vmm.c's program elsewhere; default: it is started here. */
  readonly words?: readonly [string, ...string[]];
}

/** A running VMM; killed when disposed of. */
export class Vmm extends LineProcess {
  /** Starts it, and waits until it has handed its memory over. */
  static async start(socket: string, options: VmmOptions): Promise<Vmm> {
    const { regions, version = "1.12", piece = 0, keep = true, track = false } = options;
    const texts = regions.map(({ length, offset, pageSize = PAGE }) =>
      `${length}:${offset}:${pageSize}`
    );
    const args = [socket, version, `${piece}`, track ? "track" : keep ? "keep" : "close", ...texts];
    const [program, ...before] = options.words ?? [await programOf(import.meta.resolve("./vmm.c"))];
    const vmm = new Vmm(program, [...before, ...args]);
    await vmm.says("ready");
    return vmm;
  }

  /** Has it touch a page, and returns what the page shows. */
  async touch(offset: number): Promise<string> {
    await this.order(`touch ${offset}`);
    return (await this.says(`touched ${offset} `)).split(" ")[2]!;
  }

  /** Has it remove pages. */
  async remove(offset: number, length: number = PAGE): Promise<void> {
    await this.order(`remove ${offset} ${length}`);
    await this.says(`removed ${offset}`);
  }

  /** Has it look at all of its memory: no byte of it may be wrong. */
  async check(): Promise<void> {
    await this.order("check");
    assertEquals(await this.says("checked"), "checked wrong=0");
  }

  /** Waits until what it does at random has ended, with a balloon: no byte may have been wrong. */
  async ranRight(): Promise<void> {
    assertMatch(await this.says("ran"), /^ran wrong=0 removals=[1-9]/);
  }

  /** Numbers of the pages of the memory that it has written to, or removed. */
  async changed(): Promise<number[]> {
    await this.order("changed");
    const [, text] = (await this.says("changed ")).split(" ");
    return [...text!].flatMap((state, page) => state === "1" ? [page] : []);
  }

  /** Faults of it that wait for an answer, as the kernel says it. */
  get waiting(): number {
    for (const { name } of Deno.readDirSync(`/proc/${this.pid}/fd`)) {
      if (Deno.readLinkSync(`/proc/${this.pid}/fd/${name}`) !== "anon_inode:[userfaultfd]") {
        continue;
      }
      const text = Deno.readTextFileSync(`/proc/${this.pid}/fdinfo/${name}`);
      return Number(/^total:\s*(\d+)$/m.exec(text)![1]);
    }
    throw new Error("It has no userfaultfd");
  }
}

/** What vmm.c expects at an offset of the image. */
function imageWord(offset: number): number {
  if (Math.floor(offset / PAGE) % 7 === 3) return 0;
  return Math.imul(offset / 4, 2654435761) ^ 0x5bd1e995;
}

/** The memory that vmm.c expects. */
export function memoryContent(length: number): Uint8Array<ArrayBuffer> {
  const words = new Int32Array(length / 4);
  for (let index = 0; index < words.length; index++) words[index] = imageWord(index * 4);
  return new Uint8Array(words.buffer);
}

/** A directory with a memory file and room for a socket; it goes with its content. */
export class MemoryFile implements Disposable {
  readonly directory = Deno.makeTempDirSync({ prefix: "postcopy-lazy-" });
  readonly path = `${this.directory}/memory`;
  readonly socket = `${this.directory}/socket`;

  /** @param length bytes of the memory */
  constructor(length: number) {
    Deno.writeFileSync(this.path, memoryContent(length));
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.directory, { recursive: true });
  }
}
