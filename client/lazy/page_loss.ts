/** What is done while pages of the image cannot be had. */

import { errnoName, SyscallError } from "../../ffi/errno.ts";
import { killProcess } from "../../ffi/peer_process.ts";
import type { Tell } from "../../migration/threads/task.ts";
import type { LazyMessage, OnLoss } from "./lazy_task.ts";
import type { Attempt, RegionPlacer } from "./region_placer.ts";

/** Nanoseconds between two looks whether the image is back. */
export const LOOK_INTERVAL = 1e9;

/** The loss of one session: who waits for a page then is held, gets SIGBUS, or is ended; never zeros. */
export class PageLoss {
  readonly #onLoss: OnLoss;
  readonly #pidfd: number;
  readonly #tell: Tell<LazyMessage>;
  #active = false;
  #powerless = false;
  #lookedAt = 0;

  /**
   * @param onLoss what was asked for
   * @param pidfd the process to end; -1 when it cannot be
   */
  constructor(onLoss: OnLoss, pidfd: number, tell: Tell<LazyMessage>) {
    this.#onLoss = onLoss;
    this.#pidfd = pidfd;
    this.#tell = tell;
  }

  /** True as long as pages cannot be had. */
  get active(): boolean {
    return this.#active;
  }

  /** Whether to try the image: always as long as nothing is lost, then now and again. */
  mayTry(now: number): boolean {
    return !this.#active || now - this.#lookedAt >= LOOK_INTERVAL;
  }

  /** A page could not be had. */
  begin(error: unknown, now: number): void {
    this.#lookedAt = now;
    if (this.#active) return;
    this.#active = true;
    const reason = error instanceof Error ? error.message : `${error}`;
    this.#tell({ kind: "lost", reason, doing: this.#onLoss });
  }

  /** A page of the image was placed. */
  end(): void {
    if (!this.#active) return;
    this.#active = false;
    this.#powerless = false;
    this.#tell({ kind: "found" });
  }

  /**
   * Somebody waits for a page that cannot be had.
   *
   * @returns what came of marking it; undefined: it is held
   */
  answer(page: number, placer: Pick<RegionPlacer, "poison">): Attempt | undefined {
    if (this.#powerless || this.#onLoss === "hold") return undefined;
    if (this.#onLoss === "kill") {
      const code = this.#pidfd < 0 ? undefined : killProcess(this.#pidfd);
      if (code !== 0) {
        this.#hold(
          `Cannot end the process: ${code === undefined ? "it is out of sight" : errnoName(code)}`,
        );
      }
      return undefined; // its death is noticed as any other
    }
    try {
      return placer.poison(page);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      this.#hold(`${error.message}: Linux 6.6 or later is needed`);
      return undefined;
    }
  }

  #hold(reason: string): void {
    this.#powerless = true;
    this.#tell({ kind: "held", reason });
  }
}
