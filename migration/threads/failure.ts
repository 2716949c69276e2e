/** Errors on their way between threads: structured cloning would keep no more than their message. */

/** An error as plain data. */
export interface Failure {
  readonly name: string;
  readonly code: string;
  readonly message: string;
  readonly stack: string | undefined;
}

/** An error that ended a thread or a task, with the name, code and stack it had there. */
export class WorkerThreadError extends Error {
  /** The error's own name. */
  override readonly name: string;
  /** Machine-readable reason, as the thread's error gave it; `"UNKNOWN"` when it gave none. */
  readonly code: string;

  /** @param failure the error as the thread reported it */
  constructor(failure: Failure) {
    super(failure.message);
    this.name = failure.name;
    this.code = failure.code;
    if (failure.stack !== undefined) this.stack = failure.stack;
  }
}

/** Makes plain data of whatever was thrown. */
export function toFailure(thrown: unknown): Failure {
  if (!(thrown instanceof Error)) {
    return { name: "Error", code: "UNKNOWN", message: String(thrown), stack: undefined };
  }
  const code = (thrown as { code?: unknown }).code;
  return {
    name: thrown.name,
    code: typeof code === "string" ? code : "UNKNOWN",
    message: thrown.message,
    stack: thrown.stack,
  };
}
