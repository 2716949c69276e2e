/** TLS credentials as a QEMU has them. */

import type { Authority } from "./authority.ts";
import { setParameters } from "./migration.ts";
import type { Qemu } from "./qemu.ts";

/** Gives a QEMU files of credentials, and has it use them for migrations. */
export async function useCredentials(
  qemu: Qemu,
  files: Readonly<Record<string, string>>,
  object: Readonly<Record<string, unknown>>,
  parameters: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  await Deno.mkdir(qemu.directory.ours("tls"));
  for (const [name, text] of Object.entries(files)) {
    await Deno.writeTextFile(qemu.directory.ours(`tls/${name}`), text);
  }
  await qemu.execute("object-add", { id: "tls0", dir: qemu.directory.theirs("tls"), ...object });
  await setParameters(qemu, { "tls-creds": "tls0", ...parameters });
}

/** Files of an authority as a QEMU has them. */
export async function filesOf(
  authority: Authority,
  end: "client" | "server",
): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const name of ["ca-cert.pem", `${end}-cert.pem`, `${end}-key.pem`]) {
    files[name] = await Deno.readTextFile(authority.path(name));
  }
  return files;
}
