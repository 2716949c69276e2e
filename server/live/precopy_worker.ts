import { runPoolThread } from "../../migration/threads/pool_thread.ts";
import { precopyTask } from "./precopy_task.ts";

runPoolThread({ precopy: precopyTask });
