/** The two tasks that serve a connection, as a pool knows them. */

import type { TaskKind } from "../../migration/threads/thread_pool.ts";
import type { BackgroundSenderInit } from "../sending/background_sender.ts";
import type { BackgroundMessage } from "../sending/background_task.ts";
import type { RequestServerInit, ReturnPathMessage } from "../sending/request_server.ts";

/** The background stream of a migration, and what goes before its guest runs. */
export const BACKGROUND: TaskKind<BackgroundSenderInit, BackgroundMessage> = {
  thread: new URL("../sending/background_worker.ts", import.meta.url),
  name: "background",
  urgent: false,
};

/** The return path of a migration, and the answers to what is asked for there. */
export const RETURN_PATH: TaskKind<RequestServerInit, ReturnPathMessage> = {
  thread: new URL("../sending/return_path_worker.ts", import.meta.url),
  name: "return-path",
  urgent: true,
};
