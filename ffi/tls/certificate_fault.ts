/** What is wrong with a certificate, in words. */

import { openSsl, textAt } from "./libssl.ts";
import type { TlsErrorCode } from "./tls_error.ts";

/** What a check of a certificate found. */
export interface CertificateFault {
  readonly code: TlsErrorCode;
  /** What is wrong, to stand after "the certificate of X ". */
  readonly what: string;
  /** What to do about it. */
  readonly remedy: string;
}

const RENEW = "issue a new one with the same authority and put it in its place";
const CLOCKS = "see that the clocks of both hosts are right, or issue a new one";
const AUTHORITY = "both ends need certificates of one authority, and its ca-cert.pem";

type Fault = readonly [code: TlsErrorCode, what: string, remedy: string];

const UNKNOWN: Fault = [
  "UNKNOWN_AUTHORITY",
  "comes from an authority that is not in ca-cert.pem here",
  AUTHORITY,
];

/** By the number of the check's result, from openssl/x509_vfy.h. */
const FAULTS: Readonly<Record<number, Fault>> = {
  2: UNKNOWN,
  3: [
    "REVOKED",
    "cannot be looked up in ca-crl.pem, which has no list of its authority",
    "add that authority's list to the file",
  ],
  7: [
    "UNKNOWN_AUTHORITY",
    "was not signed with the key of the authority in ca-cert.pem here, whose name it bears",
    AUTHORITY,
  ],
  9: ["NOT_YET_VALID", "or of its authority is not valid yet", CLOCKS],
  10: ["EXPIRED", "or of its authority has expired", RENEW],
  11: ["NOT_YET_VALID", "cannot be looked up in ca-crl.pem, which is not valid yet", CLOCKS],
  12: [
    "EXPIRED",
    "cannot be looked up in ca-crl.pem, which has expired",
    "get the authority's newest list, on this host",
  ],
  18: UNKNOWN,
  19: UNKNOWN,
  20: UNKNOWN,
  21: UNKNOWN,
  23: ["REVOKED", "has been revoked by its authority", "issue a new one"],
  79: [
    "UNKNOWN_AUTHORITY",
    "was signed by one that is no authority (CA:TRUE is not in it)",
    AUTHORITY,
  ],
  26: [
    "WRONG_PURPOSE",
    "is not made for that end of a connection",
    "issue one with the extended key usage serverAuth for who listens, clientAuth for who connects",
  ],
  27: UNKNOWN,
  32: [
    "UNKNOWN_AUTHORITY",
    "was signed by one that may not sign certificates (keyCertSign is not among its key usages)",
    "issue the authority's own certificate anew",
  ],
  66: ["BAD_CERTIFICATE", "has a key that is too short", "issue one with RSA 2048 or ECDSA P-256"],
  67: [
    "BAD_CERTIFICATE",
    "comes from an authority whose key is too short",
    "make an authority with RSA 2048 or ECDSA P-256",
  ],
  68: [
    "BAD_CERTIFICATE",
    "or of its authority is signed by a method that is broken",
    "issue one that is signed with SHA-256",
  ],
};

/** A name is checked for, and the certificate has others. */
const NAME_RESULTS = [62, 63, 64];

/**
 * Says what a check's result means.
 *
 * @param result of X509_verify_cert and its like; 0 is that nothing is wrong
 * @param name what the certificate should have been issued for
 */
export function certificateFault(result: number, name = "that name"): CertificateFault {
  if (NAME_RESULTS.includes(result)) {
    return {
      code: "WRONG_NAME",
      what: `is not for ${name}`,
      remedy: "connect by a name that it has, say which with --tls-hostname, or issue one that " +
        "names it (subjectAltName: DNS for a name, IP for an address)",
    };
  }
  const [code, what, remedy] = FAULTS[result] ?? [
    "BAD_CERTIFICATE",
    `does not hold: ${textAt(openSsl().X509_verify_cert_error_string(BigInt(result)))}`,
    RENEW,
  ];
  return { code, what, remedy };
}
