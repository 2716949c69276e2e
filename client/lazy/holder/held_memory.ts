/** What a server has held, and what it takes over from the one before it. */

import { closeDescriptor } from "../../../ffi/descriptors.ts";
import type { Listener } from "../../../ffi/listener.ts";
import type { MappedMemory } from "../../../ffi/memory.ts";
import { Socket } from "../../../ffi/socket.ts";
import type { Handover } from "../handover.ts";
import { RegionMap } from "../region_map.ts";
import { takenRecord } from "../removal_record.ts";
import { type HeldMemoryOf, HeldPlaces } from "./held_places.ts";
import type { HeldProcess } from "./holder_channel.ts";

/** A process that was served by another. */
export interface TakenProcess {
  readonly id: string;
  readonly handover: Handover;
  readonly record: MappedMemory;
}

/** The processes and places that a holder keeps for this server. */
export class HeldMemory implements Disposable {
  /** Processes to go on with; theirs who takes them out. */
  readonly taken: TakenProcess[] = [];
  /** Why processes that are held are not among them. */
  readonly foreign: string[] = [];
  readonly #memoryLength: number;
  #places: HeldPlaces | undefined;

  private constructor(memoryLength: number) {
    this.#memoryLength = memoryLength;
  }

  /**
   * Takes over what is held; see {@linkcode HeldPlaces.open}.
   *
   * @param memoryLength bytes of the memory that the image holds
   */
  static async open(path: string, memoryLength: number, signal: AbortSignal): Promise<HeldMemory> {
    const held = new HeldMemory(memoryLength);
    try {
      const visit = (what: HeldMemoryOf, descriptors: readonly number[]) =>
        held.#take(what, descriptors);
      held.#places = await HeldPlaces.open(path, visit, signal);
      return held;
    } catch (error) {
      held.close();
      throw error;
    }
  }

  /** See {@linkcode HeldPlaces.listen}. */
  listen(path: string): Promise<Listener> {
    return this.#places!.listen(path);
  }

  /**
   * Has a process held; no event of it may be read before.
   *
   * @returns under what it is held
   * @throws {Error} when the holder is gone
   */
  async keep({ uffd, socket, peer, regions }: Handover, record: MappedMemory): Promise<string> {
    const id = crypto.randomUUID();
    const { pid, uid, pidfd } = peer;
    const memoryLength = this.#memoryLength;
    const held = { kind: "process" as const, id, pid, uid, regions, memoryLength };
    const descriptors = [uffd, record.fd, socket.fd, ...pidfd < 0 ? [] : [pidfd]];
    await this.#places!.keep(held, descriptors);
    return id;
  }

  /** Tells a manager of services that it serves. */
  async ready(): Promise<void> {
    await this.#places!.ready();
  }

  /** A process needs nothing any more. */
  drop(id: string): Promise<void> {
    return this.#places!.drop(id);
  }

  /** Leaves everything to the next server. */
  close(): void {
    for (const { handover, record } of this.taken.splice(0)) {
      handover[Symbol.dispose]();
      record.close();
    }
    this.#places?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #take(held: HeldMemoryOf, descriptors: readonly number[]): void {
    const reason = held.kind === "tree"
      ? `A process tree of CRIU is held, of ${held.images}: it waits for who serves that`
      : held.memoryLength === this.#memoryLength
      ? undefined
      : `Process ${held.pid} was served from another image: of ${held.memoryLength} bytes, this one has ` +
        `${this.#memoryLength}: it waits for a server with that one`;
    if (reason === undefined) return this.#takeProcess(held as HeldProcess, descriptors);
    for (const fd of descriptors) closeDescriptor(fd); // the holder has them still
    this.foreign.push(reason);
  }

  #takeProcess(held: HeldProcess, descriptors: readonly number[]): void {
    const { id, pid, uid, regions } = held;
    const [uffd, recordFd, socketFd, pidfd = -1] = descriptors;
    const record = takenRecord(recordFd!, new RegionMap(regions).pageCount);
    closeDescriptor(recordFd!);
    const socket = new Socket(socketFd!, `process ${pid}`);
    const close = () => {
      closeDescriptor(uffd!);
      socket.close();
      if (pidfd >= 0) closeDescriptor(pidfd);
    };
    const peer = { pid, uid, pidfd };
    const handover = { uffd: uffd!, socket, peer, regions, [Symbol.dispose]: close };
    this.taken.push({ id, handover, record });
  }
}
