/** What the words that talk to the daemon share: how it is found, and how they end. */

import type { ImageErrorCode } from "../../image/image_error.ts";
import { type Options, type OptionValues, UsageError } from "../../migration/command/arguments.ts";
import { CommonExitCode, commonExitCodeOf } from "../../migration/command/exit_code.ts";
import type { SessionView } from "../service/session.ts";
import { ApiClient } from "./api_client.ts";
import { ApiError, NoDaemonError } from "./api_error.ts";
import { DEFAULT_SOCKET, parseDaemonAddress } from "./daemon_address.ts";

/** Exit codes of the words: those of the one-shot commands, and one for a daemon that does not answer. */
export const ExitCode = {
  ...CommonExitCode,
  BAD_IMAGE: 3,
  /** The destination cannot be reached, or the address not be listened at. */
  UNREACHABLE: 4,
  HANDED_OVER: 5,
  NO_DAEMON: 6,
} as const;

const OF_IMAGES: Readonly<Record<ImageErrorCode, number>> = {
  "not-found": ExitCode.BAD_IMAGE,
  "not-an-image": ExitCode.BAD_IMAGE,
  truncated: ExitCode.BAD_IMAGE,
  malformed: ExitCode.BAD_IMAGE,
  unsupported: ExitCode.BAD_IMAGE,
  "bad-description": ExitCode.BAD_IMAGE,
  changed: ExitCode.BAD_IMAGE,
  unreadable: ExitCode.BAD_IMAGE,
  closed: ExitCode.BAD_IMAGE,
};

/** Codes of errors by the exit code that the one-shot commands have for them. */
const BY_CODE: Readonly<Record<string, number>> = {
  BAD_REQUEST: ExitCode.USAGE,
  BAD_NAME: ExitCode.USAGE,
  BAD_ADDRESS: ExitCode.USAGE,
  USAGE: ExitCode.USAGE,
  NO_SUCH_SESSION: ExitCode.USAGE,
  NO_SUCH_IMAGE: ExitCode.BAD_IMAGE,
  IMAGE_CHANGED: ExitCode.BAD_IMAGE,
  IMAGE_UNREADABLE: ExitCode.BAD_IMAGE,
  ...OF_IMAGES,
  HANDED_OVER: ExitCode.HANDED_OVER,
  UNKNOWN_HOST: ExitCode.UNREACHABLE,
  TIMEOUT: ExitCode.UNREACHABLE,
  CANCELLED: ExitCode.INTERRUPTED,
};

/** Errno names that connecting or listening fails with. */
const UNREACHABLE =
  /^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|ENOENT|EADDRINUSE|EADDRNOTAVAIL)$/;

/** Returns the exit code for an error by its code. */
export function exitCodeOfCode(code: string | undefined): number {
  if (code === undefined) return ExitCode.FAILED;
  return BY_CODE[code] ?? (UNREACHABLE.test(code) ? ExitCode.UNREACHABLE : ExitCode.FAILED);
}

/** Returns the exit code for a session that has ended. */
export function exitCodeOfSession({ status, code }: SessionView): number {
  if (status === "completed") return ExitCode.DONE;
  return status === "cancelled" ? ExitCode.INTERRUPTED : exitCodeOfCode(code);
}

/** Exit code for what a word threw, whose message is for the user; undefined for a mistake of this program. */
export function exitCodeOf(error: Error): number | undefined {
  if (error instanceof NoDaemonError) return ExitCode.NO_DAEMON;
  if (error instanceof ApiError) {
    return error.code === undefined && [400, 422].includes(error.status)
      ? ExitCode.USAGE
      : exitCodeOfCode(error.code);
  }
  if (error.name === "SocketAddressError") return ExitCode.USAGE;
  return commonExitCodeOf(error);
}

/** What the exit codes of every word mean. */
export const EXITS: Readonly<Record<number, string>> = {
  [ExitCode.FAILED]: "the daemon refused, or failed",
  [ExitCode.USAGE]: "wrong usage",
  [ExitCode.NO_DAEMON]: "no daemon answers",
};

/** The options of every word. */
export const DAEMON_OPTIONS = {
  daemon: {
    value: "ADDRESS",
    help:
      "where the daemon listens: unix:PATH, or https://HOST:PORT (http:// for one without TLS); default " +
      `$POSTCOPY_DAEMON, or unix:${DEFAULT_SOCKET}`,
  },
  "token-file": {
    value: "FILE",
    help: "the token that a daemon wants to hear on TCP; default $POSTCOPY_TOKEN_FILE",
  },
  ca: {
    value: "FILE",
    help:
      "authorities in PEM by which its certificate is checked, beside those that this host trusts; " +
      "default $POSTCOPY_CA",
  },
} as const satisfies Options;

/**
 * Makes the client that the options tell of.
 *
 * @throws {UsageError} for an address that cannot be understood, or a file that cannot be read
 */
export function daemonClient(values: OptionValues<typeof DAEMON_OPTIONS>): ApiClient {
  const said = (option: string | undefined, variable: string) => option ?? Deno.env.get(variable);
  const address = parseDaemonAddress(
    said(values.daemon, "POSTCOPY_DAEMON") || `unix:${DEFAULT_SOCKET}`,
  );
  const tokenFile = said(values["token-file"], "POSTCOPY_TOKEN_FILE");
  const authorities = said(values.ca, "POSTCOPY_CA");
  return new ApiClient({
    address,
    // The variable holds for all daemons, of which a unix socket asks for none.
    ...tokenFile === undefined || address.transport === "unix" && values["token-file"] === undefined
      ? {}
      : { token: readToken(tokenFile) },
    ...authorities === undefined ? {} : { authorities: [readText("--ca", authorities)] },
  });
}

function readToken(path: string): string {
  const token = readText("--token-file", path).trim();
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new UsageError(
    `No token in the file after --token-file: ${path}: it has one line, the token`,
  );
}

function readText(flag: string, path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    throw new UsageError(`File after ${flag} cannot be read: ${path}: ${(error as Error).message}`);
  }
}
