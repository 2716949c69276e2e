/** systemd as the holder: a service's descriptor store (FDSTORE=1), which the next start of the service gets. */

import { closeDescriptor, newPipe } from "../../../ffi/descriptors.ts";
import { FileStatus } from "../../../ffi/file_status.ts";
import { hostPageSize, MappedMemory } from "../../../ffi/memory.ts";
import { PollEvents, PollSet } from "../../../ffi/poll.ts";
import {
  type InheritedDescriptor,
  inheritedDescriptors,
  ManagerSocket,
  type ServiceEnvironment,
} from "../../../ffi/service_manager.ts";
import type { Held } from "./holder_channel.ts";
import type { HeldVisitor, Keeper } from "./keeper.ts";

/** What names of descriptors of ours begin with: `postcopy-ID.NUMBER`, of which number 0 says what they are. */
const NAME = /^(postcopy-[0-9a-f-]{36})\.(\d+)$/;

/** What descriptor 0 of what is held says. */
interface About {
  readonly held: Held;
  /** Descriptors beside it. */
  readonly count: number;
}

/** Reads what the service manager has said by the environment. */
export function serviceEnvironment(): ServiceEnvironment {
  return {
    notifySocket: Deno.env.get("NOTIFY_SOCKET"),
    listenPid: Deno.env.get("LISTEN_PID"),
    listenFds: Deno.env.get("LISTEN_FDS"),
    listenNames: Deno.env.get("LISTEN_FDNAMES"),
  };
}

/**
 * The store of the service that this process is. One process has it at a time: systemd starts the next when all of
 * this one is gone.
 */
export class SystemdStore implements Keeper {
  readonly #manager: ManagerSocket;
  /** By what is held: the names of its descriptors. */
  readonly #names = new Map<string, readonly string[]>();

  private constructor(manager: ManagerSocket) {
    this.#manager = manager;
  }

  /**
   * Takes over what the service before this one has left.
   *
   * @param visit called with what is held
   * @throws {Error} when this is no service that may tell its manager something
   * @throws {SyscallError} when the manager is not there
   */
  static async open(
    visit: HeldVisitor,
    environment: ServiceEnvironment = serviceEnvironment(),
  ): Promise<SystemdStore> {
    const { notifySocket } = environment;
    if (notifySocket === undefined || notifySocket === "") {
      throw new Error(
        "Not started by systemd, NOTIFY_SOCKET is not set: start it as a service with NotifyAccess=main and " +
          "FileDescriptorStoreMax=, or use a holder (lazy --holder)",
      );
    }
    const store = new SystemdStore(new ManagerSocket(notifySocket));
    try {
      await store.#takeAll(inheritedDescriptors(environment, Deno.pid), visit);
    } catch (error) {
      store.close();
      throw error;
    }
    return store;
  }

  /** See {@linkcode Keeper.keep}. */
  async keep(held: Held, descriptors: readonly number[]): Promise<void> {
    await this.drop(held.id);
    const name = `postcopy-${crypto.randomUUID()}`;
    const names = [0, ...descriptors].map((_, index) => `${name}.${index}`);
    this.#names.set(held.id, names);
    using about = aboutMemory({ held, count: descriptors.length });
    for (const [index, fd] of [about.fd, ...descriptors].entries()) {
      await this.#store(names[index]!, fd);
    }
    if (await this.#storesMore(`${name}.probe`)) return;
    await this.drop(held.id);
    throw new Error(
      `systemd keeps none of its ${names.length} descriptors: have the service start this as its main process, ` +
        "with NotifyAccess=main, and FileDescriptorStoreMax= of 5 for each VM and some more",
    );
  }

  /** See {@linkcode Keeper.drop}. */
  async drop(id: string): Promise<void> {
    const names = this.#names.get(id) ?? [];
    this.#names.delete(id);
    for (const name of names) await this.#remove(name);
  }

  /** Tells systemd that it serves: a service of `Type=notify` counts as started then. */
  async ready(): Promise<void> {
    await this.#manager.tell(["READY=1"]);
  }

  /** See {@linkcode Keeper.watch}. It does not go before its services. */
  watch(): void {}

  /** See {@linkcode Keeper.close}. */
  close(): void {
    this.#manager.close();
  }

  async #store(name: string, fd: number): Promise<void> {
    // Not polled by systemd: a connection that has ended is not to be forgotten.
    await this.#manager.tell(["FDSTORE=1", "FDPOLL=0", `FDNAME=${name}`], [fd]);
  }

  async #remove(name: string): Promise<void> {
    // A manager that is gone keeps nothing.
    await this.#manager.tell(["FDSTOREREMOVE=1", `FDNAME=${name}`]).catch(() => {});
  }

  /**
   * Whether systemd has kept all so far, and so one more: it says nothing when it keeps no more. A pipe whose
   * reading end is kept by nobody is broken.
   */
  async #storesMore(name: string): Promise<boolean> {
    const { reading, writing } = newPipe();
    try {
      try {
        await this.#store(name, reading);
      } finally {
        closeDescriptor(reading);
      }
      await this.#manager.settled();
      const set = new PollSet(1);
      set.watch(0, writing, 0);
      set.wait(0);
      await this.#remove(name);
      return (set.ready(0) & PollEvents.ERR) === 0;
    } finally {
      closeDescriptor(writing);
    }
  }

  async #takeAll(inherited: readonly InheritedDescriptor[], visit: HeldVisitor): Promise<void> {
    const groups = new Map<string, InheritedDescriptor[]>();
    for (const each of inherited) {
      const name = NAME.exec(each.name)?.[1];
      if (name !== undefined) groups.set(name, [...groups.get(name) ?? [], each]);
    }
    for (const [name, group] of groups) await this.#take(name, group, visit);
  }

  async #take(
    name: string,
    group: readonly InheritedDescriptor[],
    visit: HeldVisitor,
  ): Promise<void> {
    const fds = new Map(group.map((each) => [each.name, each.fd]));
    const aboutFd = fds.get(`${name}.0`);
    const about = aboutFd === undefined ? undefined : readAbout(aboutFd);
    if (about !== undefined && group.length === about.count + 1) {
      const descriptors = Array.from(
        { length: about.count },
        (_, index) => fds.get(`${name}.${index + 1}`)!,
      );
      this.#names.set(about.held.id, [...fds.keys()]);
      closeDescriptor(aboutFd!);
      return visit(about.held, descriptors);
    }
    // The server was killed before all of it was kept, and so before it had read an event.
    for (const [name, fd] of fds) {
      closeDescriptor(fd);
      await this.#remove(name);
    }
  }
}

function aboutMemory(about: About): MappedMemory {
  const bytes = new TextEncoder().encode(JSON.stringify(about));
  const pages = Math.ceil(bytes.length / hostPageSize());
  const memory = MappedMemory.memfd(pages * hostPageSize(), "postcopy-held");
  memory.bytes().set(bytes);
  return memory;
}

/** @returns undefined for what is none */
function readAbout(fd: number): About | undefined {
  const status = new FileStatus();
  if (status.look(fd) !== 0 || status.size === 0) return undefined;
  using memory = MappedMemory.alias(fd, status.size);
  const text = new TextDecoder().decode(memory.bytes()).replace(/\0+$/, "");
  try {
    return JSON.parse(text) as About;
  } catch {
    return undefined;
  }
}
