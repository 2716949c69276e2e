/** A guest saved from QEMU in a directory of its own, and the QEMUs that it is restored into. */

import { parseSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import type { CaptureOptions } from "../../qemu/capture.ts";
import {
  type CapturedGuest,
  captureGuest,
  checkRounds,
  type GuestMachine,
  startGuest,
  waitForRound,
} from "../../qemu/guest.ts";
import { listenForMigration, setCapabilities } from "../../qemu/migration.ts";
import type { Qemu } from "../../qemu/qemu.ts";

/** Rounds that a restored guest must add: it has then seen all of its memory, and written it. */
const ROUNDS_AFTER = 3;

/** Capabilities of a destination, by QEMU's names. */
export type Capabilities = Readonly<Record<string, boolean>>;

/** What a destination needs for the modes with a preempt channel. */
export const PREEMPT: Capabilities = { "postcopy-ram": true, "postcopy-preempt": true };
/** What a destination needs for the mode vanilla. */
export const VANILLA: Capabilities = { "postcopy-ram": true };

/** A QEMU that waits for a guest. */
export interface WaitingQemu {
  readonly qemu: Qemu;
  /** Where it listens, for the command line. */
  readonly uri: string;
  /** Where it listens, for the module. */
  readonly address: SocketAddress;
}

/** A guest in a file. */
export class SavedGuest implements AsyncDisposable {
  readonly #guest: CapturedGuest;
  readonly #directory: string;
  readonly #qemus: Qemu[] = [];
  readonly #bytes: Uint8Array<ArrayBuffer>;

  private constructor(guest: CapturedGuest, directory: string) {
    this.#guest = guest;
    this.#directory = directory;
    this.#bytes = Deno.readFileSync(guest.path);
  }

  /** Boots a guest, lets it count, saves and kills it. */
  static async capture(machine: GuestMachine, options: CaptureOptions = {}): Promise<SavedGuest> {
    const directory = await Deno.makeTempDir({ prefix: "postcopy-interop-" });
    try {
      const guest = await captureGuest(`${directory}/guest`, machine, options);
      return new SavedGuest(guest, directory);
    } catch (error) {
      await Deno.remove(directory, { recursive: true });
      throw error;
    }
  }

  /** The image file. */
  get path(): string {
    return this.#guest.path;
  }

  /** The bytes of the image as they were when it was saved. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  /**
   * Starts a QEMU that waits for this guest; it ends with this object.
   *
   * @param capabilities which it has on
   * @param difference in what its machine is not the saved one
   */
  async destination(
    capabilities: Capabilities,
    difference: GuestMachine = {},
  ): Promise<WaitingQemu> {
    const qemu = await startGuest({ ...this.#guest.machine, ...difference, incoming: true });
    this.#qemus.push(qemu);
    await setCapabilities(qemu, capabilities);
    const uri = `tcp:127.0.0.1:${await listenForMigration(qemu)}`;
    return { qemu, uri, address: parseSocketAddress(uri) };
  }

  /** Sees that a restored guest goes on counting where it stopped, then kills it. */
  async countsOn(qemu: Qemu): Promise<void> {
    // A report of wrong memory is told at once, not after a wait for rounds that never end.
    const wrong = qemu.serial.waitForLine("a report", (text) => text.includes("BAD"));
    const counted = waitForRound(qemu, this.#guest.rounds + ROUNDS_AFTER);
    await Promise.race([counted, wrong.catch(() => {})]);
    await qemu.close();
    checkRounds(this.#guest.output + qemu.serial.text);
  }

  /** Sees that nobody changed the image. */
  assertUntouched(): void {
    const now = Deno.readFileSync(this.path);
    if (now.length === this.#bytes.length && now.every((byte, i) => byte === this.#bytes[i])) {
      return;
    }
    throw new Error(`Image was changed: ${this.path}`);
  }

  /** Ends its QEMUs and removes the image. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const qemu of this.#qemus) await qemu.close();
    await Deno.remove(this.#directory, { recursive: true });
  }
}
