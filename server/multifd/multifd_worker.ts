import { runPoolThread } from "../../migration/threads/pool_thread.ts";
import { MULTIFD_TASK, multifdTask } from "./multifd_sender.ts";

runPoolThread({ [MULTIFD_TASK.name]: multifdTask });
