/** A scripted source whose block is of huge pages. */

import type { SocketAddress } from "../../ffi/socket_address.ts";
import { joinPackage } from "../../migration/protocol/package.ts";
import { encodeWorkloadState } from "../../workload/device_state.ts";
import { HostileSource, PATTERN } from "../hostile/scripted_source.ts";
import type { Random } from "../support/random.ts";
import { HUGE } from "./huge_pages.ts";

/** Pages of the block `rom`. */
const ROM = 32;
/** Target pages of a host page. */
export const PARTS = 512;

/** Sends a block `ram` of huge pages, and a block `rom` of small ones. */
export class HugeSource extends HostileSource {
  readonly #hostPages: number;
  /** Bytes of a page of `ram` as the block list says it. */
  pageSize = HUGE;
  /** What ADVISE says. */
  summary = 0x20_1000;

  /**
   * @param to where the destination listens
   * @param hostPages of the block `ram`, which comes first
   */
  constructor(to: SocketAddress, hostPages: number) {
    super(to, { ram: hostPages * PARTS, rom: ROM });
    this.#hostPages = hostPages;
  }

  override encodeAdvise(): void {
    this.stream.header();
    this.stream.configuration({ machine: "postcopy-workload" });
    this.stream.command({ kind: "open-return-path" });
    this.stream.command({ kind: "ping", value: 1 });
    const ram = { pageSizeSummary: this.summary, targetPageSize: 4096 };
    this.stream.command({ kind: "advise", ram });
  }

  override encodeBlocks(): void {
    const usedLength = this.#hostPages * HUGE;
    this.stream.sectionStart(2, "ram", 0, 4);
    this.stream.blockList(usedLength + ROM * 4096);
    this.stream.blockEntry({ name: "ram", usedLength, pageSize: this.pageSize });
    this.stream.blockEntry({ name: "rom", usedLength: ROM * 4096 });
    this.stream.endOfSection();
    this.stream.sectionFooter(2);
  }

  /** Encodes the package alone: nothing is discarded with it. */
  encodePackage(): void {
    const pages = this.#hostPages * PARTS + ROM;
    const contents = joinPackage({
      before: [{ kind: "listen" }],
      devices: encodeWorkloadState({ ...PATTERN, pages }),
      after: [{ kind: "ping", value: 3 }, { kind: "run" }],
    });
    this.stream.packaged(contents.length);
    this.stream.packagedData(contents, 0, contents.length);
    this.stream.command({ kind: "ping", value: 4 });
  }

  /** The numbers of a host page's target pages, in any order. */
  parts(hostPage: number, random?: Random): number[] {
    const pages = Array.from({ length: PARTS }, (_, part) => hostPage * PARTS + part);
    if (random === undefined) return pages;
    for (let at = PARTS - 1; at > 0; at--) {
      const other = random.below(at + 1);
      [pages[at], pages[other]] = [pages[other]!, pages[at]!];
    }
    return pages;
  }

  /** The numbers of the pages of `rom`. */
  rom(): number[] {
    return Array.from({ length: ROM }, (_, page) => this.#hostPages * PARTS + page);
  }
}
