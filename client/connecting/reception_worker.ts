import { runPoolThread } from "../../migration/threads/pool_thread.ts";
import type { TaskMaker } from "../../migration/threads/task.ts";
import {
  RECEPTION,
  type ReceptionInit,
  ReceptionTask,
  type RefusedConnection,
} from "./reception_task.ts";

const make: TaskMaker<ReceptionInit, RefusedConnection> = (init, tell, poll) =>
  new ReceptionTask(init, tell, poll);
runPoolThread({ [RECEPTION.name]: make });
