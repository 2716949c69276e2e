/** The guests of bench:disruption in QEMU: their machines, and what their lines say. */

import type { QemuOptions } from "../../qemu/qemu.ts";
import type { QemuBinary } from "../../qemu/qemu_binary.ts";
import { findKernel, KERNEL_WORDS } from "../methods/linux_guest.ts";
import { READY_LINE } from "../methods/initramfs.ts";
import { TemporaryDirectory } from "../support/temporary_directory.ts";
import { provideKernel, provideRedis } from "./debian_packages.ts";
import { parseRedisLine, redisFiles, scriptFiles } from "./linux_files.ts";
import { buildWorkerSector, parseWorkerLine, workingSetOf } from "./worker_guest.ts";

/** Guests in QEMU, by the names of the command line. */
export const QEMU_GUESTS = ["random", "sequential", "hot", "redis", "script"] as const;

/** One of {@linkcode QEMU_GUESTS}. */
export type QemuGuest = typeof QEMU_GUESTS[number];

/**
 * Empty loops after an access, 1 ns each or so: a guest without any wants a new page every 100 ns, which
 * no link gives, and all that its order could show is lost.
 */
const PAUSES = { random: 0, sequential: 8_000, hot: 20_000 } as const;

/** Says guests in words, for a table. */
export const GUEST_TITLES: Readonly<Record<QemuGuest, string>> = {
  random: "random writes",
  sequential: "sequential writes",
  hot: "90 % of writes to 10 % of memory",
  redis: "redis, GETs by a Zipf law",
  script: "a script started at the restore",
};

/** A guest that can be started. */
export interface RestorableGuest {
  readonly name: QemuGuest;
  /** The machine, the same at both ends. */
  readonly machine: QemuOptions;
  /** Tells that the guest has done what comes before its work. */
  readonly isReady: (line: string) => boolean;
  /** Work that a line tells of; undefined of another line. Absent of a guest that runs a script when told. */
  readonly work?: (line: string) => number | undefined;
}

/** What guests are made from. */
export interface GuestSources {
  readonly binary: QemuBinary;
  /** Memory, bytes. */
  readonly memory: number;
  /** A Linux kernel; default the last in /boot, else Debian's. */
  readonly kernel: string | undefined;
}

/** Guests, and the files that their QEMUs read at each start. */
export class RestorableGuests implements Disposable {
  readonly #sources: GuestSources;
  readonly #directory: TemporaryDirectory;

  /** @param sources from which they are made */
  constructor(sources: GuestSources) {
    this.#sources = sources;
    const { root } = sources.binary;
    // A QEMU with another root must see them.
    this.#directory = root === "/"
      ? new TemporaryDirectory()
      : new TemporaryDirectory(`${root.replace(/\/+$/, "")}/tmp`);
  }

  /**
   * Makes a guest.
   *
   * @throws {RangeError} for memory that it cannot do with
   * @throws {Error} when something that it is made from is missing
   */
  async make(name: QemuGuest): Promise<RestorableGuest> {
    const { binary, memory } = this.#sources;
    const machine = { binary, memoryMiB: memory / 2 ** 20 };
    if (name === "redis" || name === "script") {
      const files = name === "redis"
        ? redisFiles(memory, await provideRedis())
        : scriptFiles(memory);
      return {
        name,
        machine: { ...machine, args: await this.#linuxArguments(name, files) },
        isReady: (line) => line === READY_LINE,
        ...name === "redis" ? { work: parseRedisLine } : {},
      };
    }
    const options = { workingSet: workingSetOf(memory), order: name, pause: PAUSES[name] };
    return {
      name,
      machine: { ...machine, bootSector: buildWorkerSector(options) },
      isReady: (line) => parseWorkerLine(line) !== undefined,
      work: parseWorkerLine,
    };
  }

  async #linuxArguments(name: string, files: Uint8Array): Promise<string[]> {
    const found = this.#sources.kernel ?? findKernel() ??
      findKernel([`${await provideKernel()}/boot`]);
    if (found === undefined) throw new Error("No Linux kernel, name one with --kernel");
    const [kernel, initrd] = [`${this.#directory.path}/kernel`, `${this.#directory.path}/${name}`];
    await Deno.copyFile(found, kernel);
    await Deno.writeFile(initrd, files);
    return [
      ...["-kernel", this.#theirs(kernel), "-initrd", this.#theirs(initrd)],
      ...["-append", KERNEL_WORDS],
    ];
  }

  /** A path as QEMU names it. */
  #theirs(path: string): string {
    return path.slice(this.#sources.binary.root.replace(/\/+$/, "").length);
  }

  /** Removes the files. Closing again does nothing. */
  [Symbol.dispose](): void {
    this.#directory.close();
  }
}
