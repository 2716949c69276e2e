/** Credentials of a QEMU that migrates to a receiver of ours. */

import type { ImageReceiverOptions } from "../../client/receive/image_receiver_options.ts";
import type { Qemu } from "../../qemu/qemu.ts";
import { filesOf, useCredentials } from "../../qemu/credentials.ts";
import { issued } from "./qemu_credentials.ts";

const KEY = "8f".repeat(32);

/** What a QEMU that migrates and a receiver of ours know each other by. */
export interface SourceShared extends AsyncDisposable {
  /** What the receiver is given. */
  readonly receiver: Required<Pick<ImageReceiverOptions, "tls">>;
  /** Has a QEMU use them for its migrations. */
  give(qemu: Qemu): Promise<void>;
}

async function certificates(): Promise<SourceShared> {
  const authority = await issued();
  return {
    receiver: { tls: { credentials: authority.directory } },
    give: async (qemu) => {
      const object = { "qom-type": "tls-creds-x509", endpoint: "client", "verify-peer": true };
      await useCredentials(qemu, await filesOf(authority, "client"), object);
    },
    [Symbol.asyncDispose]: () => authority[Symbol.asyncDispose](),
  };
}

async function keys(): Promise<SourceShared> {
  const credentials = await Deno.makeTempFile();
  await Deno.writeTextFile(credentials, `guest:${KEY}\n`);
  return {
    receiver: { tls: { credentials } },
    give: async (qemu) => {
      const object = { "qom-type": "tls-creds-psk", endpoint: "client", username: "guest" };
      await useCredentials(qemu, { "keys.psk": `guest:${KEY}\n` }, object);
    },
    [Symbol.asyncDispose]: () => Deno.remove(credentials),
  };
}

/** Both kinds, by QEMU's names. */
export const SOURCE_KINDS: Readonly<Record<string, () => Promise<SourceShared>>> = {
  "tls-creds-x509": certificates,
  "tls-creds-psk": keys,
};
