/** What two ends of ours know each other by, and strangers by whom they are not taken for one. */

import type { Encryption } from "../support/migrate.ts";
import { Authority } from "../../qemu/authority.ts";

/** Credentials of both ends. */
export interface BothEnds extends AsyncDisposable {
  readonly encryption: Encryption;
}

/** Certificates of one authority: each end has its own, and asks for the other's. */
export async function certificates(): Promise<BothEnds> {
  const authority = await Authority.make();
  await authority.issue("server", { purpose: "serverAuth" });
  await authority.issue("client", { purpose: "clientAuth" });
  const tls = { credentials: authority.directory };
  return {
    encryption: { source: tls, destination: tls },
    [Symbol.asyncDispose]: () => authority[Symbol.asyncDispose](),
  };
}

/** A pre-shared key, of the identity `qemu`. */
export async function preSharedKey(): Promise<BothEnds & { readonly key: Uint8Array }> {
  const credentials = await Deno.makeTempFile();
  const key = new Uint8Array(32).fill(0x5c);
  await Deno.writeTextFile(credentials, `qemu:${key.toHex()}\n`);
  const tls = { credentials };
  return {
    key,
    encryption: { source: tls, destination: tls },
    [Symbol.asyncDispose]: () => Deno.remove(credentials),
  };
}

/** Both kinds. */
export const KINDS: Readonly<Record<string, () => Promise<BothEnds>>> = {
  certificates,
  "a pre-shared key": preSharedKey,
};
