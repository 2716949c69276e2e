/** Certificates and keys in a directory, under the names that QEMU gives them. */

import type { Certificate } from "../../ffi/tls/certificate.ts";
import { checkChain } from "../../ffi/tls/certificate_chain.ts";
import { certificateFault } from "../../ffi/tls/certificate_fault.ts";
import type { TlsRole, X509Parts } from "../../ffi/tls/context.ts";
import {
  type PemObject,
  readCertificates,
  readPrivateKey,
  readRevocationLists,
} from "../../ffi/tls/pem.ts";
import { TlsError } from "../../ffi/tls/tls_error.ts";
import { readCredentialFile, readSecretFile, type Warn } from "./credential_file.ts";

/** The file whose presence says that a directory holds certificates. */
export const CA_CERTIFICATE = "ca-cert.pem";
const REVOCATIONS = "ca-crl.pem";

/** What was read, all to be closed. */
export class X509Files implements X509Parts, Disposable {
  readonly #stack = new DisposableStack();
  readonly authorities: readonly Certificate[];
  readonly revoked: readonly PemObject[];
  readonly chain: readonly Certificate[];
  readonly key?: PemObject;

  /**
   * Reads a directory and checks what is in it, as QEMU does before it uses it.
   *
   * @param directory with `ca-cert.pem`, and `server-cert.pem` and `server-key.pem`, or both for a client,
   * which may go without
   * @throws {TlsError} `BAD_CREDENTIALS`, or what is wrong with a certificate, naming its file
   */
  constructor(directory: string, role: TlsRole, warn: Warn) {
    try {
      const authority = `${directory}/${CA_CERTIFICATE}`;
      this.authorities = this.#own(readCertificates(
        readCredentialFile(
          authority,
          "put the certificate there of the authority that both ends trust",
        )!,
        authority,
      ));
      const lists = `${directory}/${REVOCATIONS}`;
      const revoked = readCredentialFile(lists, undefined);
      this.revoked = revoked === undefined ? [] : this.#own(readRevocationLists(revoked, lists));
      const certificate = `${directory}/${role}-cert.pem`;
      const lock = `${directory}/${role}-key.pem`;
      // A client may show none, unless the server asks for it.
      const needed = role === "server"
        ? `issue a certificate for this host with the authority of ${authority}`
        : undefined;
      const shown = readCredentialFile(certificate, needed);
      this.chain = shown === undefined ? [] : this.#own(readCertificates(shown, certificate));
      const secret = readSecretFile(
        lock,
        shown === undefined ? undefined : `put the private key of ${certificate} there`,
        warn,
      );
      if (secret !== undefined && shown === undefined) throw lonelyKey(lock, certificate);
      if (secret !== undefined) {
        this.key = this.#stack.use(readPrivateKey(secret, lock));
        secret.fill(0);
      }
      this.#check(role, { authority, certificate, lock });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #own<T extends Disposable>(parts: T[]): T[] {
    for (const part of parts) this.#stack.use(part);
    return parts;
  }

  #check(
    role: TlsRole,
    paths: { readonly authority: string; readonly certificate: string; readonly lock: string },
  ): void {
    const [own, ...between] = this.chain;
    if (own === undefined || this.key === undefined) {
      if (!this.authorities.every((authority) => authority.expired)) return;
      throw outOfTime("EXPIRED", "has expired", this.authorities[0]!, paths.authority);
    }
    if (own.expired) throw outOfTime("EXPIRED", "has expired", own, paths.certificate);
    if (own.notYetValid) {
      throw outOfTime("NOT_YET_VALID", "is not valid yet", own, paths.certificate);
    }
    if (!own.fits(this.key.address)) {
      throw new TlsError(
        "BAD_CREDENTIALS",
        `The private key is not that of the certificate: ${paths.lock}: put the key there with which ` +
          `${paths.certificate} was made, or issue a new certificate for it`,
      );
    }
    if (own.isAuthority) {
      throw new TlsError(
        "WRONG_PURPOSE",
        `The certificate is an authority's own (CA:TRUE): ${paths.certificate}: issue one with it ` +
          "for this host",
      );
    }
    const found = checkChain([own, ...between], this.authorities, role);
    if (found === 0) return;
    const { code, what, remedy } = certificateFault(found);
    throw new TlsError(code, `The certificate in ${paths.certificate} ${what}: ${remedy}`);
  }

  /** Frees all; what a context was made of lives on in it. Closing again does nothing. */
  close(): void {
    this.#stack.dispose();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function outOfTime(
  code: "EXPIRED" | "NOT_YET_VALID",
  what: string,
  certificate: Certificate,
  path: string,
): TlsError {
  const [from, to] = certificate.validity;
  return new TlsError(
    code,
    `The certificate in ${path} ${what} (it is for the time from ${from} to ${to}): issue a new one, ` +
      "or see that this host's clock is right",
  );
}

function lonelyKey(lock: string, certificate: string): TlsError {
  return new TlsError(
    "BAD_CREDENTIALS",
    `There is a private key without its certificate: ${lock}: put that into ${certificate}`,
  );
}
