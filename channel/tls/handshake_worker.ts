import { openSsl } from "../../ffi/tls/libssl.ts";
import { runPoolThread } from "../../migration/threads/pool_thread.ts";
import type { TaskMaker } from "../../migration/threads/task.ts";
import { HandshakeTask, type HandshakeTaskInit, type Shaken } from "./handshake_task.ts";

const handshake: TaskMaker<HandshakeTaskInit, Shaken> = (init, tell, poll) =>
  new HandshakeTask(init, tell, poll);

// The library is opened before anybody is connected who would wait for that.
runPoolThread({ handshake }, openSsl);
