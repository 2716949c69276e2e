/** The service manager that has started this process: what sd_notify(3) and sd_listen_fds(3) do. */

import { closeDescriptor, closeOnExec, newPipe } from "./descriptors.ts";
import { sendDescriptors } from "./descriptor_passing.ts";
import { Errno, SyscallError } from "./errno.ts";
import { errno, libc } from "./libc.ts";
import { PollEvents } from "./poll.ts";
import { AddressFamily } from "./socket_address.ts";
import { waitReady } from "./wait_ready.ts";

const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
/** The first descriptor that a manager hands to a service: `SD_LISTEN_FDS_START`. */
const FIRST_DESCRIPTOR = 3;
/** Milliseconds in which a manager has to have read what it was told. */
const PATIENCE = 30_000;

/** sizeof(sun_path), from include/uapi/linux/un.h. */
const UNIX_PATH_MAX = 108;

/** A descriptor that the manager has kept, or made. */
export interface InheritedDescriptor {
  readonly name: string;
  /** Whoever takes it closes it. */
  readonly fd: number;
}

/** What a manager says to a service by its environment. */
export interface ServiceEnvironment {
  /** `NOTIFY_SOCKET`: a path, or `@` and an abstract name. */
  readonly notifySocket: string | undefined;
  /** `LISTEN_PID`: whom the descriptors are for. */
  readonly listenPid: string | undefined;
  /** `LISTEN_FDS`: how many. */
  readonly listenFds: string | undefined;
  /** `LISTEN_FDNAMES`: their names, colons between. */
  readonly listenNames: string | undefined;
}

/** The descriptors that were handed to this process; asked for once. */
export function inheritedDescriptors(
  { listenPid, listenFds, listenNames }: ServiceEnvironment,
  pid: number,
): InheritedDescriptor[] {
  if (Number(listenPid) !== pid) return [];
  const names = (listenNames ?? "").split(":");
  return Array.from({ length: Number(listenFds) || 0 }, (_, index) => {
    const fd = FIRST_DESCRIPTOR + index;
    closeOnExec(fd);
    return { name: names[index] ?? "", fd };
  });
}

/**
 * Lays a unix socket's name out as the kernel's `struct sockaddr_un`.
 *
 * @param name a path, or `@` and a name that is in no file system (unix(7), abstract)
 * @returns undefined for a name that no socket can have
 */
export function unixSockaddr(name: string): Uint8Array<ArrayBuffer> | undefined {
  const abstract = name.startsWith("@");
  const path = new TextEncoder().encode(name);
  if (path.length < 2 || path.length > (abstract ? UNIX_PATH_MAX : UNIX_PATH_MAX - 1)) {
    return undefined;
  }
  // A path ends with a zero; an abstract name is as long as the address says, and begins with one.
  const bytes = new Uint8Array(2 + path.length + (abstract ? 0 : 1));
  new DataView(bytes.buffer).setUint16(0, AddressFamily.UNIX, true);
  bytes.set(path, 2);
  if (abstract) bytes[2] = 0;
  return bytes;
}

/** Where a service tells its manager something. */
export class ManagerSocket implements Disposable {
  #fd: number;

  /**
   * @param address the environment's `NOTIFY_SOCKET`
   * @throws {SyscallError} when nobody is there
   */
  constructor(address: string) {
    this.#fd = libc().socket(AddressFamily.UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (this.#fd < 0) throw new SyscallError("socket", errno());
    const bytes = unixSockaddr(address);
    if (bytes !== undefined && libc().connect(this.#fd, bytes, bytes.length) === 0) return;
    const code = bytes === undefined ? Errno.EINVAL : errno();
    this.close();
    throw new SyscallError("connect", code, `to the service manager at ${address}`);
  }

  /**
   * Tells it something.
   *
   * @param lines assignments
   * @param descriptors of which it gets copies
   * @throws {SyscallError} when it is gone
   */
  async tell(lines: readonly string[], descriptors: readonly number[] = []): Promise<void> {
    const bytes = new TextEncoder().encode(lines.join("\n"));
    while (true) {
      const sent = sendDescriptors(this.#fd, bytes, descriptors);
      if (sent >= 0) return;
      if (sent === -Errno.EAGAIN) {
        await waitReady(this.#fd, PollEvents.OUT, "room for a word to the service manager", {
          timeout: PATIENCE,
        });
      } else if (sent !== -Errno.EINTR) {
        throw new SyscallError("sendmsg", -sent, "to the service manager");
      }
    }
  }

  /**
   * Resolves when it has dealt with all that it was told before (systemd 246).
   *
   * @throws {DOMException} `TimeoutError` when it takes too long
   */
  async settled(): Promise<void> {
    const { reading, writing } = newPipe();
    try {
      try {
        await this.tell(["BARRIER=1"], [writing]);
      } finally {
        closeDescriptor(writing);
      }
      await waitReady(reading, PollEvents.IN, "the service manager", { timeout: PATIENCE });
    } finally {
      closeDescriptor(reading);
    }
  }

  /** Closes it. Closing again does nothing. */
  close(): void {
    if (this.#fd >= 0) libc().close(this.#fd);
    this.#fd = -1;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
