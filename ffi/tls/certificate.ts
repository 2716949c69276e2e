/** A certificate: whose it is, from when to when, and whether it fits its key. */

import { cString } from "../libc.ts";
import { openSsl } from "./libssl.ts";

// From openssl/x509v3.h.
const EXFLAG_CA = 0x10;
const CHECK_ALWAYS_SUBJECT = 0x1;
const CHECK_NO_WILDCARDS = 0x2;
// From openssl/asn1.h: special characters are escaped, the text is UTF-8, what is no text becomes #HEX.
const ESCAPE_2253 = 0x1n;
const UTF8_CONVERT = 0x10n;
const DUMP_UNKNOWN = 0x100n;
const DUMP_DER = 0x200n;
const NAME_FLAGS = ESCAPE_2253 | UTF8_CONVERT | DUMP_UNKNOWN | DUMP_DER;

/** Kinds of name by their number, as gnutls_x509_dn_oid_name of 3.7.9 tells it. */
const NAME_KINDS: Readonly<Record<string, string>> = {
  "2.5.4.3": "CN",
  "2.5.4.4": "surName",
  "2.5.4.5": "serialNumber",
  "2.5.4.6": "C",
  "2.5.4.7": "L",
  "2.5.4.8": "ST",
  "2.5.4.9": "street",
  "2.5.4.10": "O",
  "2.5.4.11": "OU",
  "2.5.4.12": "title",
  "2.5.4.13": "description",
  "2.5.4.15": "businessCategory",
  "2.5.4.17": "postalCode",
  "2.5.4.20": "telephoneNumber",
  "2.5.4.41": "name",
  "2.5.4.42": "givenName",
  "2.5.4.43": "initials",
  "2.5.4.44": "generationQualifier",
  "2.5.4.46": "dnQualifier",
  "2.5.4.65": "pseudonym",
  "0.9.2342.19200300.100.1.1": "UID",
  "0.9.2342.19200300.100.1.25": "DC",
  "1.2.840.113549.1.9.1": "EMAIL",
};

/** Reads what `write` prints into a buffer of the library's. */
function printed(write: (bio: bigint) => void): string {
  const library = openSsl();
  const bio = library.BIO_new(library.BIO_s_mem());
  try {
    write(bio);
    const bytes = new Uint8Array(4096);
    const count = library.BIO_read(bio, bytes, bytes.length);
    return new TextDecoder().decode(bytes.subarray(0, Math.max(0, count)));
  } finally {
    library.BIO_free(bio);
  }
}

/** A certificate that this object owns. */
export class Certificate implements Disposable {
  #address: bigint;

  /** Takes ownership. */
  constructor(address: bigint) {
    this.#address = address;
  }

  /** Its address, for the library's calls. */
  get address(): bigint {
    return this.#address;
  }

  /**
   * Whose it is, as a QEMU writes it and compares it with an authorized identity: `O=facts,CN=src.example`,
   * in the order in which the parts are stored.
   */
  get subject(): string {
    const library = openSsl();
    const name = library.X509_get_subject_name(this.#address);
    const count = library.X509_NAME_entry_count(name);
    let text = "";
    let set = -1;
    for (let index = 0; index < count; index++) {
      const entry = library.X509_NAME_get_entry(name, index);
      const itsSet = library.X509_NAME_ENTRY_set(entry);
      if (index > 0) text += itsSet === set ? "+" : ",";
      set = itsSet;
      const value = library.X509_NAME_ENTRY_get_data(entry);
      text += `${kindOf(library.X509_NAME_ENTRY_get_object(entry))}=`;
      text += printed((bio) => library.ASN1_STRING_print_ex(bio, value, NAME_FLAGS));
    }
    return text;
  }

  /** Whether it says of itself that it is an authority's. */
  get isAuthority(): boolean {
    return (openSsl().X509_get_extension_flags(this.#address) & EXFLAG_CA) !== 0;
  }

  /** Whether its time has not come yet. */
  get notYetValid(): boolean {
    const library = openSsl();
    return library.X509_cmp_current_time(library.X509_get0_notBefore(this.#address)) > 0;
  }

  /** Whether its time is over. */
  get expired(): boolean {
    const library = openSsl();
    return library.X509_cmp_current_time(library.X509_get0_notAfter(this.#address)) < 0;
  }

  /** The first and the last second of its time, for messages. */
  get validity(): readonly [from: string, to: string] {
    const library = openSsl();
    const [from, to] = [library.X509_get0_notBefore, library.X509_get0_notAfter].map((time) =>
      printed((bio) => library.ASN1_TIME_print(bio, time(this.#address)))
    );
    return [from!, to!];
  }

  /** Whether a private key is its own. */
  fits(key: bigint): boolean {
    const library = openSsl();
    const fits = library.X509_check_private_key(this.#address, key) === 1;
    library.ERR_clear_error();
    return fits;
  }

  /**
   * Whether it is somebody's: by all of its subject, or by a host name or address that it was issued for,
   * its common name among them. A wildcard in it stands for nobody.
   */
  isOf(name: string): boolean {
    if (name === "") return false;
    if (name === this.subject) return true;
    const library = openSsl();
    if (library.X509_check_ip_asc(this.#address, cString(name), 0) === 1) return true;
    // With a dot in front the library would take every name that ends so.
    if (name.startsWith(".")) return false;
    const flags = CHECK_ALWAYS_SUBJECT | CHECK_NO_WILDCARDS;
    return library.X509_check_host(this.#address, cString(name), 0n, flags, 0n) === 1;
  }

  /** Frees it, unless others of the library's use it. Closing again does nothing. */
  close(): void {
    const address = this.#address;
    this.#address = 0n;
    if (address !== 0n) openSsl().X509_free(address);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** What a part of a name is: a short word, or its number. */
function kindOf(object: bigint): string {
  const number = new Uint8Array(128);
  const length = openSsl().OBJ_obj2txt(number, number.length, object, 1);
  const text = new TextDecoder().decode(number.subarray(0, length));
  return NAME_KINDS[text] ?? text;
}
