/** The package of a switchover: gathered from the stream, then taken apart. */

import { MigrationError } from "../../migration/migration_error.ts";
import type { Command } from "../../migration/protocol/command.ts";
import { MAX_PACKAGE_BYTES } from "../../migration/protocol/constants.ts";
import { splitPackage } from "../../migration/protocol/package.ts";
import { GrowingBytes } from "./growing_bytes.ts";

/** What a package holds. */
export interface OpenPackage {
  /** Commands up to LISTEN, to be obeyed first. */
  readonly before: readonly Command[];
  /** The device state, opaque. */
  readonly deviceState: Uint8Array<ArrayBuffer>;
  /** Commands to be obeyed when the device state is loaded: PINGs and RUN. */
  readonly after: readonly Command[];
}

/** Gathers the bytes of one package. */
export class IncomingPackage {
  readonly #length: number;
  readonly #gathered = new GrowingBytes();

  /**
   * @param length bytes announced
   * @throws {MigrationError} when they are more than anybody's device state
   */
  constructor(length: number) {
    if (length > MAX_PACKAGE_BYTES) throw tooMuchDeviceState(length);
    this.#length = length;
  }

  /** True when all bytes are here. */
  get complete(): boolean {
    return this.#gathered.length === this.#length;
  }

  /** Adds the next bytes, which are copied. */
  add(bytes: Uint8Array, at: number, length: number): void {
    this.#gathered.add(bytes, at, length);
  }

  /**
   * Takes the complete package apart.
   *
   * @throws {MigrationError} when it does not listen
   * @throws {ProtocolError} when it is malformed
   */
  open(): OpenPackage {
    const { before, devices, after } = splitPackage(this.#gathered.bytes);
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

/** The error for a device state that is longer than anybody's. */
export function tooMuchDeviceState(length: number): MigrationError {
  return new MigrationError(
    "TOO_LARGE",
    `Device state is larger than ${MAX_PACKAGE_BYTES} bytes: ${length}`,
  );
}
