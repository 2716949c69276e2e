/** What a service manager is told: sd_notify(3), as systemd and those that took it over have it. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { SyscallError } from "../../ffi/errno.ts";
import { ManagerSocket, unixSockaddr } from "../../ffi/service_manager.ts";

/** The variables by which a service manager says where it hears, and how often it wants to. */
export interface ManagerEnvironment {
  /** `NOTIFY_SOCKET`: a path, or `@` and an abstract name. */
  readonly socket?: string | undefined;
  /** `WATCHDOG_USEC`: microseconds after which a process that is silent is killed. */
  readonly watchdog?: string | undefined;
  /** `WATCHDOG_PID`: the process that is meant; absent: every one. */
  readonly watchdogPid?: string | undefined;
}

/** Reads the variables, and takes them away: no process that this one starts speaks for it. */
export function takeManagerEnvironment(): ManagerEnvironment {
  const take = (name: string): string | undefined => {
    const value = Deno.env.get(name);
    if (value !== undefined) Deno.env.delete(name);
    return value;
  };
  return {
    socket: take("NOTIFY_SOCKET"),
    watchdog: take("WATCHDOG_USEC"),
    watchdogPid: take("WATCHDOG_PID"),
  };
}

/** A service manager, which is told how this process is. Where there is none, nothing is said. */
export class ServiceManager implements Disposable {
  readonly #address: string | undefined;
  readonly #onTrouble: (text: string) => void;
  readonly #watchdog: number | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  #last: Promise<void> = Promise.resolve();
  #troubled = false;

  /**
   * @param environment see {@linkcode takeManagerEnvironment}
   * @param onTrouble told, once, why it does not hear
   */
  constructor(environment: ManagerEnvironment, onTrouble: (text: string) => void = () => {}) {
    const { socket = "" } = environment;
    this.#onTrouble = onTrouble;
    this.#address = unixSockaddr(socket) === undefined ? undefined : socket;
    if (socket !== "" && this.#address === undefined) {
      this.#trouble(`NOTIFY_SOCKET is no name of a unix socket: ${socket}`);
    }
    this.#watchdog = this.#address === undefined ? undefined : watchdogOf(environment);
  }

  /** Milliseconds within which it must hear from this process again and again; undefined when it does not mind. */
  get watchdog(): number | undefined {
    return this.#watchdog;
  }

  /**
   * This process does its work.
   *
   * @param status what it does, in a line
   */
  ready(status: string): Promise<void> {
    return this.#say({ READY: "1", STATUS: status });
  }

  /** What this process does, in a line. */
  status(text: string): Promise<void> {
    return this.#say({ STATUS: text });
  }

  /** It reads its configuration again; {@linkcode ServiceManager.ready} follows. */
  reloading(): Promise<void> {
    const microseconds = Math.floor(monotonicNanoseconds() / 1000);
    return this.#say({ RELOADING: "1", MONOTONIC_USEC: `${microseconds}` });
  }

  /**
   * It ends.
   *
   * @param status what it still does
   */
  stopping(status: string): Promise<void> {
    return this.#say({ STOPPING: "1", STATUS: status });
  }

  /**
   * It needs longer to end than the manager allows (`TimeoutStopSec`), and says so again before that is over.
   *
   * @param milliseconds from now
   * @param status what it still does
   */
  extend(milliseconds: number, status: string): Promise<void> {
    return this.#say({ EXTEND_TIMEOUT_USEC: `${Math.ceil(milliseconds * 1000)}`, STATUS: status });
  }

  /**
   * Says at half the time that the manager allows that this process is well, as long as it is: one whose main
   * thread hangs says nothing.
   *
   * @param isWell asked each time; false, or what it throws, has the manager start it anew
   */
  watch(isWell: () => boolean): void {
    if (this.#watchdog === undefined || this.#timer !== undefined) return;
    this.#timer = setInterval(() => {
      try {
        if (isWell()) void this.#say({ WATCHDOG: "1" });
      } catch (error) {
        this.#trouble(`Not well: ${(error as Error).message}`);
      }
    }, this.#watchdog / 2);
  }

  /** Says nothing any more by itself. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Messages come in the order in which they were said. */
  #say(message: Readonly<Record<string, string>>): Promise<void> {
    if (this.#address === undefined) return Promise.resolve();
    const lines = Object.entries(message)
      .map(([name, value]) => `${name}=${value.replaceAll("\n", " ")}`);
    return this.#last = this.#last.then(() => this.#send(this.#address!, lines));
  }

  /** Each message finds the manager anew: it may have been started again. */
  async #send(address: string, lines: readonly string[]): Promise<void> {
    try {
      using socket = new ManagerSocket(address);
      await socket.tell(lines);
    } catch (error) {
      const why = error instanceof SyscallError ? error.code : (error as Error).message;
      this.#trouble(`Service manager does not hear at NOTIFY_SOCKET: ${why}`);
    }
  }

  #trouble(text: string): void {
    if (this.#troubled) return;
    this.#troubled = true;
    this.#onTrouble(text);
  }
}

function watchdogOf({ watchdog, watchdogPid }: ManagerEnvironment): number | undefined {
  const microseconds = Number(watchdog ?? "");
  if (watchdog === undefined || !(microseconds > 0)) return undefined;
  const mine = watchdogPid === undefined || Number(watchdogPid) === Deno.pid;
  return mine ? microseconds / 1000 : undefined;
}
