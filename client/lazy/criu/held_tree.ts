/** A process tree that a holder keeps for this server, and for the next. */

import { closeDescriptor } from "../../../ffi/descriptors.ts";
import { newQueue, type QueueEnds } from "../../../ffi/descriptor_queue.ts";
import type { Listener } from "../../../ffi/listener.ts";
import { Socket } from "../../../ffi/socket.ts";
import type { MappedMemory } from "../../../ffi/memory.ts";
import { type HeldMemoryOf, HeldPlaces } from "../holder/held_places.ts";
import type { HeldInit } from "./criu_task.ts";
import { PouchKind, type TakenDescriptor, TreePouch } from "./tree_pouch.ts";
import { newTreeRecord, RecordKind, takenTreeRecord, TreeRecord } from "./tree_record.ts";

/** Which tree it is. */
export interface TreeName {
  /** The directory of CRIU's images, for messages. */
  readonly images: string;
  /** Tells the dump from every other. */
  readonly stamp: string;
}

/** What belongs to a tree: its record, and the ends of its queue. */
interface Kept {
  readonly id: string;
  readonly record: MappedMemory;
  readonly ends: QueueEnds;
}

/** The tree, and who keeps it. */
export class HeldTree implements Disposable {
  /** Whether CRIU has connected, to a server before this one. */
  readonly isConnected: boolean;
  readonly #isTaken: boolean;
  readonly #places: HeldPlaces;
  readonly #kept: Kept;
  readonly #pouch: TreePouch;
  #taken: TakenDescriptor[];
  #owned: DisposableStack | undefined;

  private constructor(places: HeldPlaces, kept: Kept, isTaken: boolean) {
    this.#places = places;
    this.#kept = kept;
    this.#isTaken = isTaken;
    this.#pouch = new TreePouch(kept.ends);
    this.isConnected = isTaken && wasConnected(kept);
    this.#taken = isTaken ? this.#pouch.takeAll() : [];
  }

  /**
   * Takes a tree over, or has a new one kept.
   *
   * @param path see {@linkcode HeldPlaces.open}
   * @param note told what else is held, which this server is not for
   * @throws {Error} when it cannot be gone on with, or is not kept
   */
  static async open(
    path: string,
    name: TreeName,
    note: (text: string) => void,
    signal: AbortSignal,
  ): Promise<HeldTree> {
    using stack = new DisposableStack();
    let found: Kept | undefined;
    const places = stack.use(
      await HeldPlaces.open(path, (held, descriptors) => {
        if (held.kind === "tree" && held.stamp === name.stamp && found === undefined) {
          found = own(stack, held.id, takeRecord(descriptors[0]!), descriptors.slice(1));
          return;
        }
        for (const fd of descriptors) closeDescriptor(fd); // the holder has them still
        note(foreignText(held));
      }, signal),
    );
    const kept = found ?? await keepNew(stack, places, name);
    const tree = new HeldTree(places, kept, found !== undefined);
    stack.defer(() => tree.#closeTaken());
    tree.#owned = stack.move();
    return tree;
  }

  /**
   * Takes over what the tree is served by, or has it kept.
   *
   * @param path where CRIU connects
   * @param connect connects to the page server, if there is one
   * @returns without a listener when CRIU has connected; what is returned is the caller's
   * @throws what `connect` throws, or {@linkcode HeldPlaces.listen}
   */
  async start(
    path: string,
    connect: () => Promise<Socket | undefined>,
  ): Promise<{ readonly server: Socket | undefined; readonly listener: Listener | undefined }> {
    try {
      const server = this.#takePageServer() ??
        (this.isConnected ? undefined : await this.#keepPageServer(connect));
      if (!this.isConnected) return { server, listener: await this.#places.listen(path) };
      // One that was to be closed when the server was killed is of no use.
      await this.stopListening(path);
      return { server, listener: undefined };
    } catch (error) {
      if (!this.#isTaken) await this.drop(); // nothing has begun
      throw error;
    }
  }

  /** What its task is to have; what was taken over is the task's from then on. */
  init(): HeldInit {
    const { record, ends } = this.#kept;
    return {
      record: record.address,
      ends,
      items: this.#pouch.items,
      taken: this.#taken.splice(0),
    };
  }

  /** See {@linkcode HeldPlaces.stopListening}. */
  stopListening(path: string): Promise<void> {
    return this.#places.stopListening(path);
  }

  /** See {@linkcode HeldPlaces.ready}. */
  ready(): Promise<void> {
    return this.#places.ready();
  }

  /** See {@linkcode HeldPlaces.watch}. */
  watch(lost: () => void): void {
    this.#places.watch(lost);
  }

  /** Nobody needs the tree any more. */
  drop(): Promise<void> {
    return this.#places.drop(this.#kept.id);
  }

  /** Leaves everything to the next server. */
  close(): void {
    this.#owned?.dispose();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #keepPageServer(connect: () => Promise<Socket | undefined>): Promise<Socket | undefined> {
    const server = await connect();
    // Without a word, its end is that of what was dumped.
    if (server !== undefined) this.#pouch.put(PouchKind.SERVER, 0, server.fd);
    return server;
  }

  /** Its connection of the server before, if there was one. */
  #takePageServer(): Socket | undefined {
    const index = this.#taken.findIndex(({ kind }) => kind === PouchKind.SERVER);
    if (index < 0) return undefined;
    return new Socket(this.#taken.splice(index, 1)[0]!.fd, "the page server");
  }

  #closeTaken(): void {
    for (const { fd } of this.#taken.splice(0)) closeDescriptor(fd);
  }
}

function takeRecord(fd: number): MappedMemory {
  try {
    return takenTreeRecord(fd);
  } finally {
    closeDescriptor(fd);
  }
}

function own(
  stack: DisposableStack,
  id: string,
  record: MappedMemory,
  [writing, reading]: readonly number[],
): Kept {
  const ends = { writing: writing!, reading: reading! };
  stack.use(record);
  for (const fd of [writing!, reading!]) stack.defer(() => closeDescriptor(fd));
  return { id, record, ends };
}

async function keepNew(
  stack: DisposableStack,
  places: HeldPlaces,
  { images, stamp }: TreeName,
): Promise<Kept> {
  const { writing, reading } = newQueue();
  const kept = own(stack, crypto.randomUUID(), newTreeRecord(), [writing, reading]);
  const { id, record } = kept;
  await places.keep({ kind: "tree", id, images, stamp }, [record.fd, writing, reading]);
  return kept;
}

/** Looks into the record of a server that is gone. */
function wasConnected({ record }: Kept): boolean {
  const taken = new TreeRecord(record.address);
  if (taken.full) {
    throw new Error(
      "Server before this one could not keep all that its processes did: they cannot be served any more, and wait: " +
        "end them",
    );
  }
  let connected = false;
  taken.each((kind) => connected ||= kind === RecordKind.CONNECTED);
  return connected;
}

function foreignText(held: HeldMemoryOf): string {
  return held.kind === "tree"
    ? `Processes of another dump are held, of ${held.images}: they wait for who serves that one`
    : `Process ${held.pid} is held, of a VM: it waits for who serves its image`;
}
