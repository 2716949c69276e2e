/** The urgent task of a destination: faults taken, and the pages that are asked for placed. */

import type { TaskKind } from "../../migration/threads/thread_pool.ts";
import type { FaultMessage, FaultServerInit } from "./fault_messages.ts";

/** A fault server on a pool's thread. */
export const FAULT_TASK: TaskKind<FaultServerInit, FaultMessage> = {
  thread: new URL("./fault_worker.ts", import.meta.url),
  name: "faults",
  urgent: true,
};
