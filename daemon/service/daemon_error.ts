/** Why a daemon cannot begin: what its user, not who asks it, has to put right. */

/** A daemon that cannot begin. */
export class DaemonError extends Error {
  override readonly name = "DaemonError";
}
