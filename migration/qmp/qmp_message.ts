/** What a QMP server says: one JSON object a line. Source of the format: QEMU's docs/interop/qmp-spec. */

/** The version of a QEMU, as its QMP greeting says. */
export interface QemuVersion {
  readonly major: number;
  readonly minor: number;
  readonly micro: number;
  /** The distributor's name for it, often empty. */
  readonly package: string;
}

/** An event that QEMU reported. */
export interface QmpEvent {
  /** Its name, such as "MIGRATION". */
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
  /** QEMU's own time of the event, ms since 1970 with microseconds as fraction. */
  readonly timestamp: number;
  /** When it reached us, on the clock of `performance.now()`. */
  readonly arrivedAt: number;
}

/** A command that QEMU refused, or a session that ended. */
export class QmpError extends Error {
  override readonly name = "QmpError";

  /**
   * @param message what QEMU said
   * @param code QEMU's error class, such as "GenericError" or "CommandNotFound"; "Closed" when the session
   * ended, "NotQmp" when what answers is no QMP server
   */
  constructor(message: string, readonly code: string) {
    super(message);
  }
}

/** What a line says. */
export type QmpMessage =
  | { readonly kind: "greeting"; readonly version: QemuVersion }
  | { readonly kind: "event"; readonly event: QmpEvent }
  | { readonly kind: "answer"; readonly id: unknown; readonly value: unknown }
  | { readonly kind: "refusal"; readonly id: unknown; readonly error: QmpError };

/** The members of what QEMU sends. */
interface Sent {
  QMP?: {
    version?: { qemu?: Partial<Record<"major" | "minor" | "micro", number>>; package?: string };
  };
  id?: unknown;
  return?: unknown;
  error?: { class?: string; desc?: string };
  event?: unknown;
  data?: Record<string, unknown>;
  timestamp?: { seconds?: number; microseconds?: number };
}

/**
 * Reads a line.
 *
 * @returns undefined for one that says nothing that is known: a later QEMU may say more
 * @throws {QmpError} `NotQmp` for a line that is no JSON object
 */
export function parseQmpMessage(line: string): QmpMessage | undefined {
  const sent = parseObject(line);
  if (sent.QMP !== undefined && sent.QMP !== null) {
    const { qemu = {}, package: name = "" } = sent.QMP.version ?? {};
    const { major = 0, minor = 0, micro = 0 } = qemu;
    return { kind: "greeting", version: { major, minor, micro, package: name } };
  }
  if (typeof sent.event === "string") {
    const { seconds = 0, microseconds = 0 } = sent.timestamp ?? {};
    return {
      kind: "event",
      event: {
        name: sent.event,
        data: sent.data ?? {},
        timestamp: seconds * 1000 + microseconds / 1000,
        arrivedAt: performance.now(),
      },
    };
  }
  if (sent.error !== undefined && sent.error !== null) {
    const { class: code = "GenericError", desc = "no reason given" } = sent.error;
    return { kind: "refusal", id: sent.id, error: new QmpError(desc, code) };
  }
  return "return" in sent ? { kind: "answer", id: sent.id, value: sent.return } : undefined;
}

/** Characters of a strange line that a message quotes. */
const QUOTED = 60;

function parseObject(line: string): Sent {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    // Told below.
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw new QmpError(`No QMP: ${JSON.stringify(line.slice(0, QUOTED))}`, "NotQmp");
}
