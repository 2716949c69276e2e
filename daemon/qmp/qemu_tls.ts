/** What a QEMU encrypts a migration with. */

import { loadCredentials } from "../../channel/tls/credentials.ts";
import { type Options, UsageError } from "../../migration/command/arguments.ts";
import { MonitorError } from "./monitor_error.ts";

/** The option, for `parseCommand`. */
export const QEMU_TLS_OPTION = {
  "qemu-tls-creds": {
    value: "DIR|ID",
    help:
      "what QEMU encrypts with: a directory on its host (with a slash in its name) of which an object " +
      "tls-creds-x509 or tls-creds-psk is made there, as --tls-creds is one or the other, or the id of one " +
      "that it has; default what its parameter tls-creds says",
  },
} as const satisfies Options;

/** Credentials as a QEMU is told of them. */
export interface QemuCredentials {
  /** The arguments of `object-add`; absent: it has the object. */
  readonly object?: Readonly<Record<string, unknown>>;
  /** Parameters of its migration. */
  readonly parameters: Readonly<Record<string, unknown>>;
}

/** What was said. */
export interface QemuTlsArguments {
  /** This end's credentials, and the identity by which it goes; undefined: nothing is encrypted. */
  readonly own: { readonly credentials: string; readonly username?: string } | undefined;
  /** What this end is: a server listens. */
  readonly role: "client" | "server";
  /** `--qemu-tls-creds`. */
  readonly said: string | undefined;
  /** The name that this end's certificate has, for a QEMU that connects to an address which does not say it. */
  readonly hostname?: string;
}

/**
 * Decides what a QEMU encrypts with.
 *
 * @param parameters those that it has
 * @param name the QEMU's, for messages
 * @throws {UsageError} for credentials of one end alone, by what was said
 * @throws {MonitorError} `UNFIT` for credentials of one end alone, by what QEMU has
 * @throws {TlsError} for credentials of this end that cannot be used
 */
export function qemuCredentials(
  { own, role, said, hostname }: QemuTlsArguments,
  parameters: Readonly<Record<string, unknown>>,
  name: string,
): QemuCredentials | undefined {
  const has = parameters["tls-creds"];
  const encrypts = typeof has === "string" && has !== "";
  if (own === undefined) {
    if (said !== undefined) {
      throw new UsageError(
        `QEMU would encrypt and this end not: --qemu-tls-creds ${said} without --tls-creds: say that too`,
      );
    }
    if (!encrypts) return undefined;
    throw new MonitorError(
      "UNFIT",
      `QEMU at ${name} encrypts its migrations, and this end does not: its parameter tls-creds says: ${has}: ` +
        "nothing was changed there: give --tls-creds here",
    );
  }
  const named = hostname === undefined ? {} : { "tls-hostname": hostname };
  if (said === undefined) {
    if (encrypts) return { parameters: named };
    throw new MonitorError(
      "UNFIT",
      `QEMU at ${name} has no TLS credentials for its migrations, and this end has: nothing was changed ` +
        "there: name a directory on its host by --qemu-tls-creds",
    );
  }
  if (!said.includes("/")) return { parameters: { "tls-creds": said, ...named } };
  const id = `postcopy-tls-${crypto.randomUUID().slice(0, 8)}`;
  const endpoint = role === "server" ? "client" : "server";
  return {
    object: { id, dir: said, endpoint, ...kindOf(own, role) },
    parameters: { "tls-creds": id, ...named },
  };
}

/**
 * What a QEMU's object is: both ends have certificates, or both keys; a QEMU that connects goes by an identity that
 * this end knows.
 *
 * @throws {TlsError} for credentials of this end that cannot be used
 */
export function kindOf(
  { credentials, username: user }: QemuTlsArguments["own"] & object,
  role: "client" | "server",
): Readonly<Record<string, string>> {
  // What it warns of is told by who uses it.
  using context = loadCredentials(
    credentials,
    role,
    role === "server" || user === undefined ? {} : { username: user },
    () => {},
  );
  const { policy } = context;
  if (policy.kind === "x509") return { "qom-type": "tls-creds-x509" };
  const identities = policy.keys.map(({ identity }) => identity);
  const username = identities.includes("qemu") ? undefined : identities[0];
  const known = role === "server" && username !== undefined ? { username } : {};
  return { "qom-type": "tls-creds-psk", ...known };
}
