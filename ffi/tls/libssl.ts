/** OpenSSL 3: the functions of libssl and libcrypto that are used here, opened lazily once per thread. */

import { requirePlatform } from "../platform.ts";
import { TlsError } from "./tls_error.ts";

/** The files that are opened. Both are one in a process: what one thread made, others use by its address. */
export const LIBSSL = "libssl.so.3";
const LIBCRYPTO = "libcrypto.so.3";

// Pointers are u64, for they go from thread to thread as numbers. Functions that a macro of ssl.h stands
// for are called by the names that the macro has.
const SSL_SYMBOLS = {
  TLS_client_method: { parameters: [], result: "u64" },
  TLS_server_method: { parameters: [], result: "u64" },
  SSL_CTX_new: { parameters: ["u64" /* method */], result: "u64" },
  SSL_CTX_free: { parameters: ["u64" /* context */], result: "void" },
  SSL_CTX_ctrl: {
    parameters: ["u64", /* context */ "i32", /* command */ "i64", /* number */ "u64" /* pointer */],
    result: "i64",
  },
  SSL_CTX_set_options: { parameters: ["u64", /* context */ "u64" /* bits */], result: "u64" },
  SSL_CTX_set_ciphersuites: {
    parameters: ["u64", /* context */ "buffer" /* names */],
    result: "i32",
  },
  SSL_CTX_set_num_tickets: { parameters: ["u64", /* context */ "u64" /* count */], result: "i32" },
  SSL_CTX_set_verify: {
    parameters: ["u64", /* context */ "i32", /* mode */ "u64" /* callback */],
    result: "void",
  },
  SSL_CTX_get_cert_store: { parameters: ["u64" /* context */], result: "u64" },
  SSL_CTX_use_certificate: {
    parameters: ["u64", /* context */ "u64" /* certificate */],
    result: "i32",
  },
  SSL_CTX_use_PrivateKey: { parameters: ["u64", /* context */ "u64" /* key */], result: "i32" },

  SSL_new: { parameters: ["u64" /* context */], result: "u64" },
  SSL_free: { parameters: ["u64" /* session */], result: "void" },
  SSL_clear: { parameters: ["u64" /* session */], result: "i32" },
  SSL_set_ex_data: {
    parameters: ["u64", /* session */ "i32", /* index */ "u64" /* pointer */],
    result: "i32",
  },
  SSL_get_ex_data: { parameters: ["u64", /* session */ "i32" /* index */], result: "u64" },
  SSL_set_wfd: { parameters: ["u64", /* session */ "i32" /* fd */], result: "i32" },
  SSL_set0_rbio: { parameters: ["u64", /* session */ "u64" /* bio */], result: "void" },
  SSL_set0_wbio: { parameters: ["u64", /* session */ "u64" /* bio */], result: "void" },
  SSL_get_wbio: { parameters: ["u64" /* session */], result: "u64" },
  SSL_set_options: { parameters: ["u64", /* session */ "u64" /* bits */], result: "u64" },
  SSL_set_connect_state: { parameters: ["u64" /* session */], result: "void" },
  SSL_set_accept_state: { parameters: ["u64" /* session */], result: "void" },
  SSL_set1_host: { parameters: ["u64", /* session */ "buffer" /* name */], result: "i32" },
  SSL_set_hostflags: { parameters: ["u64", /* session */ "u32" /* bits */], result: "void" },
  SSL_get0_param: { parameters: ["u64" /* session */], result: "u64" },
  SSL_set_psk_client_callback: {
    parameters: ["u64", /* session */ "u64" /* callback */],
    result: "void",
  },
  SSL_set_psk_server_callback: {
    parameters: ["u64", /* session */ "u64" /* callback */],
    result: "void",
  },
  SSL_do_handshake: { parameters: ["u64" /* session */], result: "i32" },
  SSL_session_reused: { parameters: ["u64" /* session */], result: "i32" },
  SSL_get_verify_result: { parameters: ["u64" /* session */], result: "i64" },
  SSL_get1_peer_certificate: { parameters: ["u64" /* session */], result: "u64" },
  SSL_get_version: { parameters: ["u64" /* session */], result: "u64" },
  SSL_get_current_cipher: { parameters: ["u64" /* session */], result: "u64" },
  SSL_CIPHER_get_name: { parameters: ["u64" /* cipher */], result: "u64" },
  SSL_key_update: { parameters: ["u64", /* session */ "i32" /* kind */], result: "i32" },

  SSL_read: {
    parameters: ["u64", /* session */ "u64", /* to */ "i32" /* length */],
    result: "i32",
  },
  SSL_readInto: {
    name: "SSL_read",
    parameters: ["u64", /* session */ "buffer", /* to */ "i32" /* length */],
    result: "i32",
  },
  SSL_write: {
    parameters: ["u64", /* session */ "u64", /* from */ "i32" /* length */],
    result: "i32",
  },
  SSL_writeFrom: {
    name: "SSL_write",
    parameters: ["u64", /* session */ "buffer", /* from */ "i32" /* length */],
    result: "i32",
  },
  SSL_has_pending: { parameters: ["u64" /* session */], result: "i32" },
  SSL_shutdown: { parameters: ["u64" /* session */], result: "i32" },
  SSL_get_error: { parameters: ["u64", /* session */ "i32" /* result */], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const CRYPTO_SYMBOLS = {
  CRYPTO_zalloc: {
    parameters: ["u64", /* length */ "u64", /* file, null for none */ "i32" /* line */],
    result: "u64",
  },
  CRYPTO_free: {
    parameters: ["u64", /* memory */ "u64", /* file, null for none */ "i32" /* line */],
    result: "void",
  },
  ERR_clear_error: { parameters: [], result: "void" },
  ERR_get_error: { parameters: [], result: "u64" },
  ERR_reason_error_string: { parameters: ["u64" /* error */], result: "u64" },

  BIO_s_mem: { parameters: [], result: "u64" },
  BIO_s_null: { parameters: [], result: "u64" },
  BIO_new: { parameters: ["u64" /* method */], result: "u64" },
  BIO_new_fd: { parameters: ["i32", /* fd */ "i32" /* whether to close it */], result: "u64" },
  BIO_ctrl: {
    parameters: ["u64", /* bio */ "i32", /* command */ "i64", /* number */ "u64" /* pointer */],
    result: "i64",
  },
  BIO_free: { parameters: ["u64" /* bio */], result: "i32" },
  BIO_write: {
    parameters: ["u64", /* bio */ "buffer", /* from */ "i32" /* length */],
    result: "i32",
  },
  BIO_read: { parameters: ["u64", /* bio */ "buffer", /* to */ "i32" /* length */], result: "i32" },
  PEM_read_bio_X509: {
    parameters: [
      "u64",
      /* bio */ "u64",
      /* X509** */ "u64",
      /* callback */ "buffer", /* password */
    ],
    result: "u64",
  },
  PEM_read_bio_X509_CRL: {
    parameters: ["u64", /* bio */ "u64", /* CRL** */ "u64", /* callback */ "buffer" /* password */],
    result: "u64",
  },
  PEM_read_bio_PrivateKey: {
    parameters: [
      "u64",
      /* bio */ "u64",
      /* PKEY** */ "u64",
      /* callback */ "buffer", /* password */
    ],
    result: "u64",
  },

  X509_free: { parameters: ["u64" /* certificate */], result: "void" },
  X509_CRL_free: { parameters: ["u64" /* list */], result: "void" },
  EVP_PKEY_free: { parameters: ["u64" /* key */], result: "void" },
  X509_check_private_key: { parameters: ["u64", /* certificate */ "u64" /* key */], result: "i32" },
  X509_get_extension_flags: { parameters: ["u64" /* certificate */], result: "u32" },
  X509_get0_notBefore: { parameters: ["u64" /* certificate */], result: "u64" },
  X509_get0_notAfter: { parameters: ["u64" /* certificate */], result: "u64" },
  X509_cmp_current_time: { parameters: ["u64" /* time */], result: "i32" },
  ASN1_TIME_print: { parameters: ["u64", /* bio */ "u64" /* time */], result: "i32" },
  X509_check_host: {
    parameters: [
      "u64", /* certificate */
      "buffer", /* name */
      "u64", /* its length */
      "u32", /* flags */
      "u64", /* char** */
    ],
    result: "i32",
  },
  X509_check_ip_asc: {
    parameters: ["u64", /* certificate */ "buffer", /* address */ "u32" /* flags */],
    result: "i32",
  },
  X509_get_subject_name: { parameters: ["u64" /* certificate */], result: "u64" },
  X509_NAME_entry_count: { parameters: ["u64" /* name */], result: "i32" },
  X509_NAME_get_entry: { parameters: ["u64", /* name */ "i32" /* index */], result: "u64" },
  X509_NAME_ENTRY_set: { parameters: ["u64" /* entry */], result: "i32" },
  X509_NAME_ENTRY_get_object: { parameters: ["u64" /* entry */], result: "u64" },
  X509_NAME_ENTRY_get_data: { parameters: ["u64" /* entry */], result: "u64" },
  OBJ_obj2txt: {
    parameters: ["buffer", /* to */ "i32", /* length */ "u64", /* object */ "i32" /* numbers */],
    result: "i32",
  },
  ASN1_STRING_print_ex: {
    parameters: ["u64", /* bio */ "u64", /* string */ "u64" /* flags */],
    result: "i32",
  },

  X509_STORE_new: { parameters: [], result: "u64" },
  X509_STORE_free: { parameters: ["u64" /* store */], result: "void" },
  X509_STORE_add_cert: { parameters: ["u64", /* store */ "u64" /* certificate */], result: "i32" },
  X509_STORE_add_crl: { parameters: ["u64", /* store */ "u64" /* list */], result: "i32" },
  X509_STORE_set_flags: { parameters: ["u64", /* store */ "u64" /* bits */], result: "i32" },
  X509_STORE_CTX_new: { parameters: [], result: "u64" },
  X509_STORE_CTX_free: { parameters: ["u64" /* verification */], result: "void" },
  X509_STORE_CTX_init: {
    parameters: [
      "u64", /* verification */
      "u64", /* store */
      "u64", /* certificate */
      "u64", /* stack of others */
    ],
    result: "i32",
  },
  X509_STORE_CTX_set_purpose: {
    parameters: ["u64", /* verification */ "i32" /* purpose */],
    result: "i32",
  },
  X509_verify_cert: { parameters: ["u64" /* verification */], result: "i32" },
  X509_STORE_CTX_get_error: { parameters: ["u64" /* verification */], result: "i32" },
  X509_verify_cert_error_string: { parameters: ["i64" /* error */], result: "u64" },
  X509_VERIFY_PARAM_set1_ip_asc: {
    parameters: ["u64", /* parameters */ "buffer" /* address */],
    result: "i32",
  },
  OPENSSL_sk_new_null: { parameters: [], result: "u64" },
  OPENSSL_sk_push: { parameters: ["u64", /* stack */ "u64" /* element */], result: "i32" },
  OPENSSL_sk_free: { parameters: ["u64" /* stack */], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The functions of both libraries. */
export type OpenSsl =
  & Deno.DynamicLibrary<typeof SSL_SYMBOLS>["symbols"]
  & Deno.DynamicLibrary<typeof CRYPTO_SYMBOLS>["symbols"];

let symbols: OpenSsl | undefined;

/**
 * Returns the functions; opens the libraries at the first call in this thread. They stay open for its life.
 *
 * @throws {TlsError} `LIBRARY_MISSING` when this host does not have them
 * @throws {UnsupportedPlatformError} on anything but x86-64 and aarch64 Linux
 */
export function openSsl(): OpenSsl {
  if (symbols === undefined) {
    requirePlatform();
    symbols = { ...open(LIBSSL, SSL_SYMBOLS), ...open(LIBCRYPTO, CRYPTO_SYMBOLS) };
  }
  return symbols;
}

/**
 * Opens a library.
 *
 * @throws {TlsError} `LIBRARY_MISSING`
 */
export function open<S extends Deno.ForeignLibraryInterface>(
  library: string,
  wanted: S,
): Deno.StaticForeignLibraryInterface<S> {
  try {
    return Deno.dlopen(library, wanted).symbols;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error; // says itself what is to be allowed
    throw new TlsError(
      "LIBRARY_MISSING",
      `TLS needs OpenSSL 3, and ${library} cannot be opened: install it ` +
        "(apt-get install libssl3, where that is unknown libssl3t64; dnf install openssl-libs)",
      { cause: error },
    );
  }
}

/** Reads a string of the library's by its address; empty for none. */
export function textAt(address: bigint): string {
  const pointer = Deno.UnsafePointer.create(address);
  return pointer === null ? "" : Deno.UnsafePointerView.getCString(pointer);
}
