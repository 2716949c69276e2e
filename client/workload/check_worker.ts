/** Worker entry: checks a part of a guest's memory. */

import { checkPages } from "./check.ts";
import { serveJobs } from "./job_worker.ts";

serveJobs(checkPages);
