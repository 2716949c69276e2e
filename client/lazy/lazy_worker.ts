import { becomeUrgentThread } from "../../ffi/scheduling.ts";
import { runPoolThread } from "../../migration/threads/pool_thread.ts";
import type { TaskPoll, Tell } from "../../migration/threads/task.ts";
import { CriuServer } from "./criu/criu_server.ts";
import type { CriuInit, CriuMessage } from "./criu/criu_task.ts";
import { FillTurns } from "./fill_turns.ts";
import { LazyServer } from "./lazy_server.ts";
import type { LazyInit, LazyMessage } from "./lazy_task.ts";
import { RemoteReceiver } from "./remote/remote_receiver.ts";
import type { RemoteInit, RemoteMessage } from "./remote/remote_task.ts";

const turns = new FillTurns();

runPoolThread({
  lazy: (init: LazyInit, tell: Tell<LazyMessage>, poll: TaskPoll) =>
    new LazyServer(init, tell, poll, turns),
  remote: (init: RemoteInit, tell: Tell<RemoteMessage>, poll: TaskPoll) =>
    new RemoteReceiver(init, tell, poll),
  criu: (init: CriuInit, tell: Tell<CriuMessage>, poll: TaskPoll) =>
    new CriuServer(init, tell, poll),
}, becomeUrgentThread);
