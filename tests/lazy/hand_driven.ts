/** A server whose steps a test makes one by one, with the memory of a real VMM. */

import { Eventfd } from "../../ffi/eventfd.ts";
import { Listener } from "../../ffi/listener.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import { FillTurns } from "../../client/lazy/fill_turns.ts";
import { type Handover, receiveHandover } from "../../client/lazy/handover.ts";
import { LazyServer } from "../../client/lazy/lazy_server.ts";
import { LazyState } from "../../client/lazy/lazy_state.ts";
import type { LazyMessage, OnLoss } from "../../client/lazy/lazy_task.ts";
import { openMemoryImage } from "../../client/lazy/memory_image.ts";
import { RegionMap } from "../../client/lazy/region_map.ts";
import type { PlacingHooks } from "../../client/lazy/region_placer.ts";
import { newRecord } from "../../client/lazy/removal_record.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { HandPoll } from "../support/hand_poll.ts";
import { type MemoryFile, Vmm, type VmmOptions } from "./vmm.ts";

/** Milliseconds that turn a hang into a failure. */
const PATIENCE = 60_000;

/** How it is served. */
export interface HandDrivenOptions extends VmmOptions {
  readonly hooks?: PlacingHooks;
  readonly fill?: boolean;
  readonly onLoss?: OnLoss;
  /** Pages of the memory that are filled first. */
  readonly plan?: readonly number[];
  /** Called with the bytes of the record before the server is made. */
  readonly prepareRecord?: (bytes: Uint8Array<ArrayBuffer>, handover: Handover) => void;
}

/** Pages in shared memory, as a plan is. */
export function sharedPages(pages: readonly number[]): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(pages.length * 4);
  new Int32Array(buffer).set(pages);
  return buffer;
}

/** A VMM, and its server. */
export class HandDriven implements AsyncDisposable {
  readonly vmm: Vmm;
  readonly handover: Handover;
  readonly state: LazyState;
  readonly told: LazyMessage[] = [];
  readonly #stack: DisposableStack;
  readonly #poll = new HandPoll();
  readonly #server: LazyServer;
  #over = false;

  private constructor(
    vmm: Vmm,
    handover: Handover,
    image: Awaited<ReturnType<typeof openMemoryImage>>,
    options: HandDrivenOptions,
  ) {
    using stack = new DisposableStack();
    this.vmm = vmm;
    this.handover = stack.use(handover);
    stack.use(image);
    this.state = new LazyState();
    const { pageCount } = new RegionMap(handover.regions);
    const { fill = false, onLoss = "hold", hooks = {} } = options;
    const record = stack.use(newRecord(pageCount));
    options.prepareRecord?.(record.bytes(), handover);
    const init = {
      uffd: handover.uffd,
      socketFd: handover.socket.fd,
      pidfd: handover.peer.pidfd,
      wakeFd: stack.use(new Eventfd()).fd,
      regions: handover.regions,
      memory: image.memory,
      record: record.address,
      placed: new PageBitmap(Math.ceil(pageCount / 32) * 32).buffer,
      state: this.state.buffer,
      plan: options.plan && sharedPages(options.plan),
      protect: false,
      onLoss,
      fill,
    };
    const tell = (message: LazyMessage) => void this.told.push(message);
    this.#server = stack.use(new LazyServer(init, tell, this.#poll, new FillTurns(), hooks));
    this.#stack = stack.move();
  }

  /** Starts a VMM whose server makes no step by itself. */
  static async start(file: MemoryFile, options: HandDrivenOptions): Promise<HandDriven> {
    using listener = await Listener.listen({ transport: "unix", path: file.socket });
    const starting = Vmm.start(file.socket, options);
    const socket = await listener.accept();
    const { memory, [Symbol.dispose]: close } = await openMemoryImage(file.path);
    const image = { memory, [Symbol.dispose]: close };
    const handover = await receiveHandover(socket, memory.length, new AbortController().signal);
    return new HandDriven(await starting, handover, image, options);
  }

  /** Waits until there is a message to read: a fault, or a removal. Blocks this thread. */
  awaitMessage(): void {
    const set = new PollSet(1);
    set.watch(0, this.handover.uffd, PollEvents.IN);
    if (set.wait(PATIENCE) === 0) throw new Error("No message came");
  }

  /** Sends the VMM a signal, and waits until what it does asks for an answer. Blocks this thread. */
  signalAndAwait(signal: "SIGUSR1" | "SIGUSR2"): void {
    Deno.kill(this.vmm.pid, signal);
    this.awaitMessage();
  }

  /** Makes one step with what is there; true when it was the last. */
  step(): boolean {
    this.#poll.look();
    return this.#over = this.#server.step();
  }

  /** Makes steps until something holds, as a thread would, with a breath for this one's event loop between. */
  async run(what: string, holds: () => boolean): Promise<void> {
    const end = performance.now() + PATIENCE;
    while (!holds()) {
      if (performance.now() > end) throw new Error(`Not within 60 s: ${what}`);
      if (!this.#over) {
        this.#poll.wait(1);
        this.#over = this.#server.step();
      }
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }

  /** True after the last step. */
  get over(): boolean {
    return this.#over;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.vmm[Symbol.asyncDispose]();
    this.#stack.dispose();
  }
}
