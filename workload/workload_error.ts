/** What can be wrong with a workload guest's image or settings. */

/** Why a workload guest cannot be loaded. */
export type WorkloadErrorCode = "NOT_A_WORKLOAD" | "WRONG_MEMORY" | "WRONG_SEED";

/** A workload guest that cannot be loaded from what arrived. */
export class WorkloadError extends Error {
  override readonly name = "WorkloadError";
  /** Machine-readable reason. */
  readonly code: WorkloadErrorCode;

  /** @param code what kind of mismatch this is */
  constructor(code: WorkloadErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
