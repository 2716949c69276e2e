/** The package of a switchover: gathered from the stream, then taken apart. */

import { MigrationError } from "../migration/migration_error.ts";
import type { Command } from "../migration/protocol/command.ts";
import { MAX_PACKAGE_BYTES } from "../migration/protocol/constants.ts";
import { splitPackage } from "../migration/protocol/package.ts";

/** First memory for a package, bytes: it grows as bytes arrive, so that a length alone costs nothing. */
const FIRST_BYTES = 1 << 20;

/** What a package holds. */
export interface OpenPackage {
  /** Commands up to LISTEN, to be obeyed first. */
  readonly before: readonly Command[];
  /** The device state, opaque. */
  readonly deviceState: Uint8Array;
  /** Commands to be obeyed when the device state is loaded: PINGs and RUN. */
  readonly after: readonly Command[];
}

/** Gathers the bytes of one package. */
export class IncomingPackage {
  readonly #length: number;
  #bytes: Uint8Array;
  #filled = 0;

  /**
   * @param length bytes announced
   * @throws {MigrationError} when they are more than anybody's device state
   */
  constructor(length: number) {
    if (length > MAX_PACKAGE_BYTES) {
      throw new MigrationError(
        "TOO_LARGE",
        `Device state is larger than ${MAX_PACKAGE_BYTES} bytes: ${length}`,
      );
    }
    this.#length = length;
    this.#bytes = new Uint8Array(Math.min(length, FIRST_BYTES));
  }

  /** True when all bytes are here. */
  get complete(): boolean {
    return this.#filled === this.#length;
  }

  /** Adds the next bytes, which are copied. */
  add(bytes: Uint8Array, at: number, length: number): void {
    const needed = this.#filled + length;
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.min(this.#length, needed * 2));
      grown.set(this.#bytes.subarray(0, this.#filled));
      this.#bytes = grown;
    }
    this.#bytes.set(bytes.subarray(at, at + length), this.#filled);
    this.#filled = needed;
  }

  /**
   * Takes the complete package apart.
   *
   * @throws {MigrationError} when it does not listen
   * @throws {ProtocolError} when it is malformed
   */
  open(): OpenPackage {
    const { before, devices, after } = splitPackage(this.#bytes);
    // Without device state all commands come before it: those behind LISTEN wait for it all the same.
    const listen = before.findIndex((command) => command.kind === "listen");
    if (listen < 0) throw new MigrationError("BAD_PEER", "Device state arrived without LISTEN");
    return {
      before: before.slice(0, listen + 1),
      deviceState: devices.slice(),
      after: [...before.slice(listen + 1), ...after],
    };
  }
}
