/** The options that say how connections are encrypted. */

import { choiceArgument, type Options, type OptionValues, UsageError } from "./arguments.ts";

/** What both ends have. */
export const TLS_OPTION = {
  "tls-creds": {
    value: "DIR|FILE",
    help: "encrypt every connection with TLS: a directory with certificates as QEMU names them " +
      "(ca-cert.pem, client-cert.pem, client-key.pem; server-cert.pem, server-key.pem where it " +
      "listens) or with keys.psk, or a file of pre-shared keys; the other end needs the same kind " +
      "(QEMU: tls-creds-x509 or tls-creds-psk, and the migration parameter tls-creds)",
  },
  "tls-verify-peer": {
    value: "on|off",
    help: "whether the other end must show a certificate that holds; default on: without, the " +
      "connection is encrypted, and nobody knows with whom",
  },
} as const satisfies Options;

/** The options of an end that connects. */
export const TLS_CLIENT_OPTIONS = {
  ...TLS_OPTION,
  "tls-hostname": {
    value: "NAME",
    help: "the name or address that the certificate of the other end must have; default: that by " +
      "which it is connected to",
  },
  "tls-username": {
    value: "NAME",
    help: "the identity of the pre-shared key; default qemu",
  },
} as const satisfies Options;

/** The options of an end that listens. */
export const TLS_SERVER_OPTIONS = {
  ...TLS_OPTION,
  "tls-authz": {
    value: "NAMES",
    help:
      'who may connect, divided by ";": the distinguished name of the other end\'s certificate ' +
      '("O=example,CN=host1"), or a host name of it; default: whoever has one of the authority',
  },
} as const satisfies Options;

/** What an end that connects was told. */
export interface TlsClientArguments {
  readonly credentials: string;
  readonly hostname?: string;
  readonly username?: string;
  readonly verifyPeer?: boolean;
}

/**
 * Reads the options of an end that connects.
 *
 * @returns undefined when nothing is to be encrypted
 * @throws {UsageError} for a name without credentials: it would be passed over, and all sent in clear
 */
export function tlsClientArguments(
  values: OptionValues<typeof TLS_CLIENT_OPTIONS>,
): TlsClientArguments | undefined {
  const credentials = credentialsArgument(values, [
    "tls-hostname",
    "tls-username",
    "tls-verify-peer",
  ]);
  if (credentials === undefined) return undefined;
  const { "tls-hostname": hostname, "tls-username": username } = values;
  const verifyPeer = verifyPeerArgument(values);
  return {
    credentials,
    ...hostname === undefined ? {} : { hostname },
    ...username === undefined ? {} : { username },
    ...verifyPeer === undefined ? {} : { verifyPeer },
  };
}

/**
 * Reads --tls-verify-peer.
 *
 * @returns undefined for the default
 * @throws {UsageError} when it is neither on nor off
 */
export function verifyPeerArgument(values: OptionValues<typeof TLS_OPTION>): boolean | undefined {
  const text = values["tls-verify-peer"];
  if (text === undefined) return undefined;
  return choiceArgument("tls-verify-peer", text, ["on", "off"] as const) === "on";
}

/**
 * Reads --tls-authz.
 *
 * @returns the names; undefined when nothing was said
 * @throws {UsageError} when nobody is named
 */
export function authorizedArgument(
  { "tls-authz": text }: OptionValues<typeof TLS_SERVER_OPTIONS>,
): readonly string[] | undefined {
  if (text === undefined) return undefined;
  const names = text.split(";").map((name) => name.trim()).filter((name) => name !== "");
  if (names.length > 0) return names;
  throw new UsageError(`Nobody could connect: --tls-authz names nobody: ${JSON.stringify(text)}`);
}

/**
 * Reads --tls-creds.
 *
 * @param others options that mean nothing without it
 * @throws {UsageError} when one of those was given alone, or nothing is named
 */
export function credentialsArgument(
  values: Readonly<Record<string, unknown>> & OptionValues<typeof TLS_OPTION>,
  others: readonly string[],
): string | undefined {
  const credentials = values["tls-creds"];
  if (credentials === "") {
    throw new UsageError(
      "No TLS credentials named: --tls-creds is empty: give a directory or file",
    );
  }
  if (credentials !== undefined) return credentials;
  const alone = others.find((name) => values[name] !== undefined);
  if (alone === undefined) return undefined;
  throw new UsageError(
    `Nothing would be encrypted: --${alone} without --tls-creds: say which certificates or keys to use`,
  );
}
