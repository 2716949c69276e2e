/** Worker entry: does one {@linkcode Job}. */

import { runWorkerThread } from "../../migration/threads/worker_thread.ts";
import { type Job, work } from "./jobs.ts";

runWorkerThread<Job, never>(work);
