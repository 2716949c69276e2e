/** A TLS handshake as a task of a pool's thread. */

import { PollEvents } from "../../ffi/poll.ts";
import { TlsHandshake } from "../../ffi/tls/handshake.ts";
import type { KernelTls } from "../../ffi/tls/kernel_tls.ts";
import type { TlsHandshakeInit } from "../../ffi/tls/session.ts";
import type { Task, TaskPoll, Tell } from "../../migration/threads/task.ts";

/** What the task is made from. */
export interface HandshakeTaskInit {
  /** Of a session on a connected socket, which nobody else uses before the task has ended. */
  readonly session: TlsHandshakeInit;
  /** Ends the task, whether the handshake is done or not. */
  readonly wakeFd: number;
}

/** What is known once two ends have shaken hands. */
export interface Shaken {
  /** Version and cipher: `"TLSv1.3 TLS_AES_256_GCM_SHA384"`. */
  readonly cipher: string;
  /** Whether the kernel encrypts what is sent, or why not. */
  readonly kernel: KernelTls;
  /** Whose certificate the other end showed; absent: it showed none. */
  readonly subject?: string;
}

/** Slots of the poll. */
const Slot = { SOCKET: 0, WAKE: 1 } as const;

/** Shakes hands on one session, and tells of it. */
export class HandshakeTask implements Task {
  readonly #fd: number;
  readonly #tell: Tell<Shaken>;
  readonly #poll: TaskPoll;
  readonly #handshake: TlsHandshake;

  constructor({ session, wakeFd }: HandshakeTaskInit, tell: Tell<Shaken>, poll: TaskPoll) {
    this.#fd = session.fd;
    this.#tell = tell;
    this.#poll = poll;
    this.#handshake = new TlsHandshake(session);
    poll.watch(Slot.WAKE, wakeFd, PollEvents.IN);
  }

  /** Goes on as far as it can; a step that makes a signature takes some 2 ms. */
  step(): boolean {
    if (this.#poll.ready(Slot.WAKE) !== 0) return true;
    if (this.#handshake.step()) {
      this.#tell(this.#handshake.outcome);
      return true;
    }
    this.#poll.watch(Slot.SOCKET, this.#fd, this.#handshake.wants);
    return false;
  }

  [Symbol.dispose](): void {
    this.#handshake.close();
  }
}
