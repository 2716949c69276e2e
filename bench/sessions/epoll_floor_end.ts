/**
 * Child process: either end of the floor with many connections.
 *
 * Each line in is a {@linkcode FloorCommand}, each line out its answer. Ends with its standard input.
 *
 * @module
 */

import { Eventfd } from "../../ffi/eventfd.ts";
import { Listener } from "../../ffi/listener.ts";
import { Socket } from "../../ffi/socket.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { WorkerThread } from "../../migration/threads/worker_thread.ts";
import { answerTries } from "./answers.ts";
import { within } from "./deadline.ts";
import type { EpollFloorJob } from "./epoll_floor_worker.ts";
import type { Walk } from "./walk.ts";

/** What an end can be asked: the source `serve`, the destination all else. */
export type FloorCommand =
  | { readonly ask: "serve"; readonly host: string; readonly connections: number }
  | { readonly ask: "connect"; readonly to: SocketAddress; readonly connections: number }
  | { readonly ask: "requests"; readonly walk: Walk };

/** Answer to `serve`. */
export interface Serving {
  readonly address: SocketAddress;
}

/** Answer to `requests`. */
export interface Requested {
  /** How long each request took, nanoseconds. */
  readonly samples: readonly number[];
}

const sockets: Socket[] = [];

function thread(job: EpollFloorJob): { ended: Promise<Float64Array> } {
  let samples = new Float64Array();
  const worker = new WorkerThread<EpollFloorJob, Float64Array<ArrayBuffer>>(
    new URL("epoll_floor_worker.ts", import.meta.url),
    (message) => samples = message,
  );
  worker.run(job);
  return { ended: worker.ended.then(() => samples) };
}

async function serve(listener: Listener, connections: number): Promise<void> {
  while (sockets.length < connections) sockets.push(await listener.accept());
  const wake = new Eventfd(); // never signalled: the thread ends with the process
  thread({ name: "answer", fds: sockets.map(({ fd }) => fd), wakeFd: wake.fd });
}

async function connect(to: SocketAddress, connections: number): Promise<void> {
  for (let index = 0; index < connections; index++) sockets.push(await Socket.connect(to));
}

await answerTries(async (message) => {
  const command = message as FloorCommand;
  switch (command.ask) {
    case "serve": {
      const { host, connections } = command;
      const listener = await Listener.listen({ transport: "tcp", host, port: 0 });
      serve(listener, connections);
      return { address: listener.address } satisfies Serving;
    }
    case "connect":
      await within("connections of the floor", connect(command.to, command.connections));
      return {};
    case "requests": {
      const job = { name: "ask", fds: sockets.map(({ fd }) => fd), walk: command.walk } as const;
      const samples = await within("requests of the floor", thread(job).ended);
      return { samples: [...samples] } satisfies Requested;
    }
  }
});
Deno.exit(0);
