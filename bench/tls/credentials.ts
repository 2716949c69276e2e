/** The certificates and the key of a run. */

import { Authority } from "../../qemu/authority.ts";
import { filesOf, useCredentials } from "../../qemu/credentials.ts";
import type { Qemu } from "../../qemu/qemu.ts";
import type { End } from "../support/cpu_placement.ts";
import type { Kind } from "./kind.ts";

/** The identity by which a QEMU goes that is not told otherwise. */
const IDENTITY = "qemu";
const KEY_BYTES = 32;
/**
 * QEMU's own words for pre-shared keys without CHACHA20-POLY1305, on which two of them would agree: it takes
 * five times as long as AES-128-GCM, with which ours is to be compared.
 */
const PSK_PRIORITY = "NORMAL:-CHACHA20-POLY1305:+ECDHE-PSK:+DHE-PSK:+PSK";

/** What the ends of a run know each other by. */
export class RunCredentials implements AsyncDisposable {
  readonly #authority: Authority;
  readonly #keys: string;

  private constructor(authority: Authority, keys: string) {
    this.#authority = authority;
    this.#keys = keys;
  }

  /**
   * Makes certificates for both ends, and a key.
   *
   * @param directory where the key is put; the certificates are put into the system's for temporary files
   */
  static async make(directory: string): Promise<RunCredentials> {
    const authority = await Authority.make();
    await authority.issue("server", { purpose: "serverAuth" });
    await authority.issue("client", { purpose: "clientAuth" });
    const keys = `${directory}/keys.psk`;
    const key = crypto.getRandomValues(new Uint8Array(KEY_BYTES)).toHex();
    await Deno.writeTextFile(keys, `${IDENTITY}:${key}\n`, { mode: 0o600 });
    return new RunCredentials(authority, keys);
  }

  /** For `--tls-creds` of either end of ours; undefined in clear. */
  path(kind: Kind): string | undefined {
    return { clear: undefined, x509: this.#authority.directory, psk: this.#keys }[kind];
  }

  /** Has a QEMU use them for its migrations; who connects is the client. */
  async give(kind: Kind, qemu: Qemu, end: End): Promise<void> {
    if (kind === "clear") return;
    const endpoint = end === "source" ? "client" : "server";
    if (kind === "x509") {
      const files = await filesOf(this.#authority, endpoint);
      return await useCredentials(qemu, files, { "qom-type": "tls-creds-x509", endpoint });
    }
    const files = { "keys.psk": await Deno.readTextFile(this.#keys) };
    await useCredentials(qemu, files, {
      "qom-type": "tls-creds-psk",
      endpoint,
      priority: PSK_PRIORITY,
    });
  }

  /** Removes the certificates; the key goes with its directory. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#authority[Symbol.asyncDispose]();
  }
}
