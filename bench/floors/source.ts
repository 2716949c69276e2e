/**
 * Child process of the floors: answers page requests and sends a bulk stream.
 *
 * Argument: the host to listen at. First line out: {@linkcode SourcePorts}. Ends with its standard
 * input.
 *
 * @module
 */

import { Listener } from "../../ffi/listener.ts";
import { answerLines, say } from "../support/bench_process.ts";
import { type FloorJob, FloorThread } from "./jobs.ts";

/** Where it listens. */
export interface SourcePorts {
  /** For page requests. */
  readonly requests: number;
  /** For the bulk stream, which begins at once. */
  readonly bulk: number;
}

/** Memory that the bulk stream is sent from: more than a core's caches hold. */
const BULK_MEMORY = 64 * 1024 * 1024;

async function listen(host: string, job: (fd: number) => FloorJob): Promise<number> {
  const listener = await Listener.listen({ transport: "tcp", host, port: 0 });
  const serve = async (): Promise<never> => {
    while (true) {
      const socket = await listener.accept();
      const thread = new FloorThread(job(socket.fd));
      thread.samples().finally(async () => {
        await thread.close();
        socket.close();
      });
    }
  };
  serve();
  const { address } = listener;
  return address.transport === "tcp" ? address.port : 0;
}

const host = Deno.args[0] ?? "127.0.0.1";
const ports: SourcePorts = {
  requests: await listen(host, (fd) => ({ name: "answer", fd })),
  bulk: await listen(host, (fd) => ({ name: "send-bulk", fd, memoryBytes: BULK_MEMORY })),
};
say(ports);
await answerLines(() => Promise.resolve({}));
Deno.exit(0);
