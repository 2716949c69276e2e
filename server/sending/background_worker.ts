import { runPoolThread } from "../../migration/threads/pool_thread.ts";
import { backgroundTask } from "./background_task.ts";

runPoolThread({ background: backgroundTask });
