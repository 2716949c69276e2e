import { libc } from "../../ffi/libc.ts";
import { runPoolThread } from "../../migration/threads/pool_thread.ts";
import { precopyTask } from "./precopy_task.ts";

libc(); // opening it takes 10 ms: before the thread says that it is ready
runPoolThread({ precopy: precopyTask });
