/** Credentials as a QEMU has them, and the same for the other end. */

import { Authority } from "../../qemu/authority.ts";
import { filesOf, useCredentials } from "../../qemu/credentials.ts";
import type { Qemu } from "../../qemu/qemu.ts";
import type { SourceTlsOptions } from "../../server/outgoing/outgoing_options.ts";

/** An authority that has issued a certificate for each end. */
export async function issued(): Promise<Authority> {
  const authority = await Authority.make();
  await authority.issue("server", { purpose: "serverAuth" });
  await authority.issue("client", { purpose: "clientAuth", subject: "/O=facts/CN=src.example" });
  return authority;
}

/** The key of {@linkcode keysShared}. */
const KEY = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/** What a QEMU that listens and a source of ours know each other by. */
export interface Shared extends AsyncDisposable {
  /** What the source is given. */
  readonly tls: SourceTlsOptions;
  /** How it will say that the connection is encrypted. */
  readonly note: RegExp;
  /** Has a QEMU use them for migrations that it receives. */
  give(qemu: Qemu): Promise<void>;
}

/** Certificates of one authority; QEMU asks for the source's. */
export async function certificatesShared(): Promise<Shared> {
  const authority = await issued();
  return {
    tls: { credentials: authority.directory },
    note: /^Encrypted \(TLSv1\.3 TLS_AES_256_GCM_SHA384\): .* 127\.0\.0\.1, .* O=tests,CN=server$/,
    give: async (qemu) => {
      const object = { "qom-type": "tls-creds-x509", endpoint: "server", "verify-peer": true };
      await useCredentials(qemu, await filesOf(authority, "server"), object);
    },
    [Symbol.asyncDispose]: () => authority[Symbol.asyncDispose](),
  };
}

/** A pre-shared key of an identity that is not QEMU's default. */
export async function keysShared(): Promise<Shared> {
  const credentials = await Deno.makeTempFile();
  await Deno.writeTextFile(credentials, `guest:${KEY}\n`);
  return {
    tls: { credentials, username: "guest" },
    note: /^Encrypted \(TLSv1\.3 TLS_AES_128_GCM_SHA256\): .* pre-shared key of guest$/,
    give: async (qemu) => {
      const object = { "qom-type": "tls-creds-psk", endpoint: "server" };
      await useCredentials(qemu, { "keys.psk": `guest:${KEY}\n` }, object);
    },
    [Symbol.asyncDispose]: () => Deno.remove(credentials),
  };
}

/** Both kinds, by QEMU's names. */
export const KINDS: Readonly<Record<string, () => Promise<Shared>>> = {
  "tls-creds-x509": certificatesShared,
  "tls-creds-psk": keysShared,
};
