/** A server whose steps a test makes one by one, with a process that moves its memory (mover.c). */

import { assertRejects } from "@std/assert";
import { Eventfd } from "../../../ffi/eventfd.ts";
import { Listener } from "../../../ffi/listener.ts";
import { PollEvents, PollSet } from "../../../ffi/poll.ts";
import type { AddressHooks } from "../../../client/lazy/criu/address_placer.ts";
import { newQueue, type QueueEnds } from "../../../ffi/descriptor_queue.ts";
import { closeDescriptor } from "../../../ffi/descriptors.ts";
import type { MappedMemory } from "../../../ffi/memory.ts";
import { CriuImages } from "../../../client/lazy/criu/criu_images.ts";
import { CriuServer } from "../../../client/lazy/criu/criu_server.ts";
import type { CriuInit, CriuMessage } from "../../../client/lazy/criu/criu_task.ts";
import { PouchKind, TreePouch } from "../../../client/lazy/criu/tree_pouch.ts";
import { newTreeRecord } from "../../../client/lazy/criu/tree_record.ts";
import { LazyState } from "../../../client/lazy/lazy_state.ts";
import { programOf } from "../../support/c_program.ts";
import type { TouchLog } from "../../../client/lazy/touch_log.ts";
import { HandPoll } from "../../support/hand_poll.ts";
import { sharedPages } from "../hand_driven.ts";
import { LineProcess } from "../line_process.ts";
import { pagemapBytes } from "./incremental.ts";

const PAGE = 4096;
const PATIENCE = 60_000;
/** What a hook throws that has the server die. */
export const KILLED = "Killed by the test";

/** What the first word of a page is. */
export function wordOf(page: number): string {
  return (0x1000 + page).toString(16);
}

/** How it is served. */
export interface HandMovedOptions {
  readonly hooks?: AddressHooks;
  readonly fill?: boolean;
  /** Pages that are filled first. */
  readonly plan?: readonly number[];
  /** Where touches are noted. */
  readonly touches?: TouchLog;
  /** Whether its server can be replaced. */
  readonly held?: boolean;
}

/** What outlives a server. */
interface Held {
  readonly record: MappedMemory;
  readonly ends: QueueEnds;
}

/** A process with so many missing pages, and its server. */
export class HandMoved implements AsyncDisposable {
  readonly mover: LineProcess;
  readonly told: CriuMessage[] = [];
  /** Address of its first page. */
  readonly address: number;
  readonly #pid: number;
  readonly #stack: DisposableStack;
  readonly #init: CriuInit;
  readonly #held: Held | undefined;
  #poll = new HandPoll();
  #server: CriuServer;
  #over = false;

  private constructor(
    mover: LineProcess,
    said: string,
    images: CriuImages,
    listenerFd: number,
    stack: DisposableStack,
    { hooks = {}, fill = false, plan, touches, held = false }: HandMovedOptions,
  ) {
    this.mover = mover;
    [this.#pid, this.address] = said.split(" ").slice(1).map(Number) as [number, number];
    this.#held = held ? newHeld(stack) : undefined;
    this.#init = {
      listenerFd,
      wakeFd: stack.use(new Eventfd()).fd,
      state: new LazyState().buffer,
      processes: [...images.processes.values()],
      files: images.files,
      server: undefined,
      held: undefined,
      orders: new Map([[this.#pid, { firstPage: 0, plan: plan && sharedPages(plan) }]]),
      touches: touches?.buffer,
      onLoss: "hold" as const,
      fill,
    };
    this.#server = this.#newServer(hooks, listenerFd);
    this.#stack = stack;
    stack.defer(() => this.#server[Symbol.dispose]());
  }

  /** Starts it; its memory is handed over, and no message of it was read. */
  static async start(pages: number, options: HandMovedOptions = {}): Promise<HandMoved> {
    using stack = new DisposableStack();
    const directory = Deno.makeTempDirSync({ prefix: "postcopy-mover-" });
    stack.defer(() => Deno.removeSync(directory, { recursive: true }));
    const path = `${directory}/socket`;
    const listener = stack.use(await Listener.listen({ transport: "unix", path }));
    const program = await programOf(import.meta.resolve("./mover.c"));
    const mover = new LineProcess(program, [path, `${pages}`]);
    const said = await mover.says("made");
    const [pid, address] = said.split(" ").slice(1).map(Number) as [number, number];
    writeImages(directory, pid, address, pages);
    const images = stack.use(CriuImages.open(directory));
    await mover.order("go");
    await mover.says("ready");
    return new HandMoved(mover, said, images, listener.fd, stack.move(), options);
  }

  /** The server dies: whatever it has and nobody holds is gone; the next one takes over. */
  replace(hooks: AddressHooks = {}): void {
    this.#server[Symbol.dispose]();
    this.#poll = new HandPoll();
    this.#over = false;
    const connected = this.told.some(({ kind }) => kind === "connected");
    this.#server = this.#newServer(hooks, connected ? -1 : this.#init.listenerFd);
  }

  /** Userfaultfds of children are as if they had never been held. */
  loseChildren(): void {
    const pouch = new TreePouch(this.#held!.ends);
    for (const { kind, id, fd } of pouch.takeAll()) {
      closeDescriptor(fd);
      if (kind === PouchKind.PROCESS && id > 0) pouch.dropProcess(id);
    }
  }

  /** Makes steps until the server throws an error of the test's. */
  async runUntilDeath(): Promise<void> {
    await assertRejects(() => this.run("its death", () => false), Error, KILLED);
  }

  /** Has what was armed begin, and waits a little for what it does to be under way. Blocks this thread. */
  signal(): void {
    Deno.kill(this.#pid, "SIGUSR1");
  }

  /** Waits until a userfaultfd of the process says something. Blocks this thread. */
  signalAndAwait(uffd: number): void {
    this.signal();
    const set = new PollSet(1);
    set.watch(0, uffd, PollEvents.IN);
    if (set.wait(PATIENCE) === 0) throw new Error("No message came");
  }

  /** Makes steps until something holds, as a thread would, with a breath for this one's event loop between. */
  async run(what: string, holds: () => boolean): Promise<void> {
    const end = performance.now() + PATIENCE;
    while (!holds()) {
      if (performance.now() > end) throw new Error(`Not within 60 s: ${what}`);
      this.#step(1);
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }

  /** Has it do something, and makes steps until it says what came of it. */
  async does(words: string, says: string): Promise<string> {
    await this.mover.order(words);
    return await this.hears(says);
  }

  /** Makes steps until it says something. */
  async hears(says: string): Promise<string> {
    await this.run(says, () => this.mover.hasSaid(says));
    return await this.mover.says(says);
  }

  #step(milliseconds: number): void {
    if (this.#over) return;
    this.#poll.wait(milliseconds);
    this.#over = this.#server.step();
  }

  #newServer(hooks: AddressHooks, listenerFd: number): CriuServer {
    const init = { ...this.#init, listenerFd, held: this.#heldInit() };
    return new CriuServer(init, (message) => this.told.push(message), this.#poll, hooks);
  }

  #heldInit(): CriuInit["held"] {
    if (this.#held === undefined) return undefined;
    const { record, ends } = this.#held;
    const pouch = new TreePouch(ends);
    const taken = pouch.takeAll();
    return { record: record.address, ends, items: pouch.items, taken };
  }

  /** True after the last step. */
  get over(): boolean {
    return this.#over;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mover[Symbol.asyncDispose]();
    this.#stack.dispose();
  }
}

function newHeld(stack: DisposableStack): Held {
  const ends = newQueue();
  for (const fd of [ends.reading, ends.writing]) stack.defer(() => closeDescriptor(fd));
  return { record: stack.use(newTreeRecord()), ends };
}

/** Writes CRIU's images of a mover. */
export function writeImages(directory: string, pid: number, address: number, pages: number): void {
  const entries = [{ address, pages, flags: 6 }];
  Deno.writeFileSync(`${directory}/pagemap-${pid}.img`, pagemapBytes(1, entries));
  const words = new Uint32Array(pages * PAGE / 4);
  for (let page = 0; page < pages; page++) words[page * PAGE / 4] = 0x1000 + page;
  Deno.writeFileSync(`${directory}/pages-1.img`, new Uint8Array(words.buffer));
}
