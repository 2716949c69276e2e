/** What PEM files hold, as the library's objects. */

import { cString } from "../libc.ts";
import { openSsl } from "./libssl.ts";
import { Certificate } from "./certificate.ts";
import { takeLibraryError } from "./library_error.ts";
import { TlsError } from "./tls_error.ts";

/** A password, so that the library does not ask at the terminal for that of a locked key. */
const NO_PASSWORD = cString("");

/** Gives the library a copy of bytes to read from, and clears that afterwards. */
function withBio<T>(bytes: Uint8Array<ArrayBuffer>, read: (bio: bigint) => T): T {
  const library = openSsl();
  library.ERR_clear_error();
  const bio = library.BIO_new(library.BIO_s_mem());
  try {
    library.BIO_write(bio, bytes, bytes.length);
    return read(bio);
  } finally {
    library.BIO_free(bio); // which overwrites it first
    library.ERR_clear_error(); // reading all there is ends with an error
  }
}

/**
 * Reads all certificates of a file.
 *
 * @param path for messages
 * @returns at least one, each the caller's to close
 * @throws {TlsError} `BAD_CREDENTIALS` when there is none
 */
export function readCertificates(bytes: Uint8Array<ArrayBuffer>, path: string): Certificate[] {
  const found = withBio(bytes, (bio) => {
    const found: Certificate[] = [];
    while (true) {
      const address = openSsl().PEM_read_bio_X509(bio, 0n, 0n, NO_PASSWORD);
      if (address === 0n) return found;
      found.push(new Certificate(address));
    }
  });
  if (found.length === 0) throw holdsNo("certificate", "BEGIN CERTIFICATE", path);
  return found;
}

/** A private key, or a list of revoked certificates: an object of the library's that this one owns. */
export class PemObject implements Disposable {
  readonly #free: (address: bigint) => void;
  #address: bigint;

  /** Takes ownership. */
  constructor(address: bigint, free: (address: bigint) => void) {
    this.#address = address;
    this.#free = free;
  }

  /** Its address, for the library's calls. */
  get address(): bigint {
    return this.#address;
  }

  /** Frees it, unless others of the library's use it. Closing again does nothing. */
  close(): void {
    const address = this.#address;
    this.#address = 0n;
    if (address !== 0n) this.#free(address);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Reads the private key of a file.
 *
 * @throws {TlsError} `BAD_CREDENTIALS` when there is none, or it is locked with a password
 */
export function readPrivateKey(bytes: Uint8Array<ArrayBuffer>, path: string): PemObject {
  const library = openSsl();
  const address = withBio(bytes, (bio) => {
    const address = library.PEM_read_bio_PrivateKey(bio, 0n, 0n, NO_PASSWORD);
    if (address !== 0n) return address;
    const { text } = takeLibraryError();
    if (/password|decrypt/i.test(text) || isLocked(bytes)) {
      throw new TlsError(
        "BAD_CREDENTIALS",
        `Private key is locked with a password: ${path}: write it without one ` +
          "(openssl pkey -in LOCKED -out KEY) where only this user can read it",
      );
    }
    return 0n;
  });
  if (address === 0n) throw holdsNo("private key", "BEGIN PRIVATE KEY", path);
  return new PemObject(address, library.EVP_PKEY_free);
}

function isLocked(bytes: Uint8Array): boolean {
  return new TextDecoder().decode(bytes).includes("ENCRYPTED");
}

/**
 * Reads all lists of revoked certificates of a file.
 *
 * @throws {TlsError} `BAD_CREDENTIALS` when there is none
 */
export function readRevocationLists(bytes: Uint8Array<ArrayBuffer>, path: string): PemObject[] {
  const library = openSsl();
  const found = withBio(bytes, (bio) => {
    const found: PemObject[] = [];
    while (true) {
      const address = library.PEM_read_bio_X509_CRL(bio, 0n, 0n, NO_PASSWORD);
      if (address === 0n) return found;
      found.push(new PemObject(address, library.X509_CRL_free));
    }
  });
  if (found.length === 0) throw holdsNo("list of revoked certificates", "BEGIN X509 CRL", path);
  return found;
}

function holdsNo(what: string, head: string, path: string): TlsError {
  return new TlsError(
    "BAD_CREDENTIALS",
    `No ${what} can be read from file: ${path}: it should be PEM, with a line -----${head}-----`,
  );
}
