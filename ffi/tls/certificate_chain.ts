/** Checking a certificate before it is shown to anybody. */

import type { Certificate } from "./certificate.ts";
import { fillStore, type TlsRole } from "./context.ts";
import { openSsl } from "./libssl.ts";

/** X509_PURPOSE_SSL_CLIENT and _SERVER of openssl/x509v3.h. */
const PURPOSES = { client: 1, server: 2 } as const;

/**
 * Checks a certificate as the other end of a connection will, but for its name: dates, authority, purpose.
 *
 * @param chain the certificate, and those between it and the authority
 * @param authorities who is trusted
 * @param role of the end that shows it
 * @returns 0 when it holds, else what `certificateFault` explains
 */
export function checkChain(
  [own, ...between]: readonly [Certificate, ...Certificate[]],
  authorities: readonly Certificate[],
  role: TlsRole,
): number {
  const library = openSsl();
  const store = library.X509_STORE_new();
  const others = library.OPENSSL_sk_new_null();
  const check = library.X509_STORE_CTX_new();
  try {
    fillStore(store, authorities, []);
    for (const { address } of between) library.OPENSSL_sk_push(others, address);
    library.X509_STORE_CTX_init(check, store, own.address, others);
    library.X509_STORE_CTX_set_purpose(check, PURPOSES[role]);
    if (library.X509_verify_cert(check) === 1) return 0;
    return library.X509_STORE_CTX_get_error(check);
  } finally {
    library.X509_STORE_CTX_free(check);
    library.OPENSSL_sk_free(others);
    library.X509_STORE_free(store);
    library.ERR_clear_error();
  }
}
