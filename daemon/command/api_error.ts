/** What the daemon refuses, and a daemon that does not answer. */

import { type DaemonAddress, formatDaemonAddress } from "./daemon_address.ts";

/** An answer of the daemon that is a problem (RFC 9457). */
export interface Problem {
  readonly status: number;
  readonly title?: string;
  readonly detail?: string;
  /** The module's code of an error. */
  readonly code?: string;
  readonly remedy?: string;
}

/** The daemon refused, or failed. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  /** HTTP's. */
  readonly status: number;
  /** The module's. */
  readonly code: string | undefined;

  constructor({ status, title, detail, code, remedy }: Problem) {
    const what = detail ?? title ?? `Daemon answered ${status}`;
    super(remedy === undefined || what.includes(remedy) ? what : `${what}: ${remedy}`);
    this.status = status;
    this.code = code;
  }
}

/** Nobody answers there, or it is no daemon, or one that may not be asked. */
export class NoDaemonError extends Error {
  override readonly name = "NoDaemonError";
}

/** Why a connection could not be made, told with what to do. */
export function noDaemon(address: DaemonAddress, cause: unknown): NoDaemonError {
  const said = messageOf(cause);
  const at = formatDaemonAddress(address);
  const with_ = (text: string) => new NoDaemonError(text, { cause });
  const elsewhere = "or say where one listens, with --daemon ADDRESS or in POSTCOPY_DAEMON";
  if (/os error 13\b|permission denied/i.test(said)) {
    return with_(
      `Daemon may not be asked by this user: ${at}: be root, or of the group that its configuration gives ` +
        "the socket (id shows yours; a new group holds from the next login on)",
    );
  }
  if (/os error 2\b|no such file|not found/i.test(said) && address.transport === "unix") {
    return with_(
      `No daemon listens at ${at}: start one (systemctl start postcopy, or postcopy daemon), ${elsewhere}`,
    );
  }
  if (/os error 111\b|refused/i.test(said)) {
    return with_(
      `No daemon listens at ${at} any more, or not yet: see how it ended (systemctl status postcopy, ` +
        `journalctl -u postcopy), start it, ${elsewhere}: what it had begun goes on by itself at its next start`,
    );
  }
  if (/certificate|UnknownIssuer|handshake|NotValidForName/i.test(said)) {
    return with_(
      `Daemon's certificate does not hold: ${at}: ${said}: name the authority that made it with --ca FILE, and ` +
        "the host by the name that it has",
    );
  }
  return with_(
    `Daemon does not answer: ${at}: ${said}: see that it runs and is reachable, ${elsewhere}`,
  );
}

/** What all causes say. */
function messageOf(thrown: unknown): string {
  const texts: string[] = [];
  for (let error = thrown; error instanceof Error; error = error.cause) {
    if (!texts.some((text) => text.includes((error as Error).message))) texts.push(error.message);
  }
  return texts.length === 0 ? String(thrown) : texts.join(": ");
}
