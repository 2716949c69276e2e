import { assert, assertEquals } from "@std/assert";
import { TlsContext } from "../../ffi/tls/context.ts";
import type { TlsSession } from "../../ffi/tls/session.ts";
import { within } from "../support/deadline.ts";
import { testUnless } from "../support/skip.ts";
import { Authority } from "../../qemu/authority.ts";
import { needsOpenssl } from "./authority.ts";
import { context, Ends } from "./ends.ts";
import { Progress, type TrafficJob, type TrafficReport } from "./traffic.ts";

const BYTES = 32 * 2 ** 20;
const UPDATES = 20;

/** A thread of an end. */
class Traffic implements Disposable {
  readonly #worker = new Worker(new URL("./traffic_worker.ts", import.meta.url), {
    type: "module",
  });
  readonly report: Promise<TrafficReport>;

  constructor(job: TrafficJob) {
    const { promise, resolve, reject } = Promise.withResolvers<TrafficReport>();
    this.report = promise;
    this.#worker.onmessage = ({ data }) => resolve(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(event.message));
    };
    this.#worker.postMessage(job);
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}

/**
 * Both ends write and read at once, each with two threads.
 *
 * @param updating the end that changes the keys meanwhile
 */
async function exchange(ends: Ends, updating?: TlsSession): Promise<void> {
  ends.open();
  using stack = new DisposableStack();
  const progress = new SharedArrayBuffer(12);
  const start = (end: TlsSession, direction: "write" | "read", seed: number) =>
    stack.use(
      new Traffic({
        session: end.init,
        direction,
        seed,
        bytes: BYTES,
        wantedUpdates: updating === undefined ? 0 : UPDATES,
        updates: end === updating,
        progress,
      }),
    ).report;
  const reports = await within(
    "all bytes in both directions",
    Promise.all([
      start(ends.client, "write", 1),
      start(ends.server, "read", 1),
      start(ends.server, "write", 2),
      start(ends.client, "read", 2),
    ]),
    240_000,
  );
  const [toServer, atServer, toClient, atClient] = reports;
  assert(toServer.bytes >= BYTES && toClient.bytes >= BYTES, JSON.stringify(reports));
  assertEquals([atServer, atClient], [{ ...toServer, ended: true }, { ...toClient, ended: true }]);
  assertEquals([toServer.failure, toClient.failure], [undefined, undefined]);
  if (updating !== undefined) {
    assert(Atomics.load(new Int32Array(progress), Progress.UPDATES) >= UPDATES);
  }
}

const KEYS = [{ identity: "qemu", key: new Uint8Array(32).fill(7) }];

testUnless(
  needsOpenssl(),
  "two threads of each end write and read at once, over certificates, without a wrong byte",
  async () => {
    await using authority = await Authority.make();
    await authority.issue("server");
    await authority.issue("client");
    using clients = context("client", authority, { certificate: "client" });
    using servers = context("server", authority, { certificate: "server" });
    using ends = await Ends.connect(clients, servers, "localhost");
    await exchange(ends);
  },
);

Deno.test("keys that the client changes in mid-flight, again and again, cost no byte", async () => {
  using clients = TlsContext.psk("client", KEYS);
  using servers = TlsContext.psk("server", KEYS);
  using ends = await Ends.connect(clients, servers);
  // A change is over when all that was under way has been read.
  for (const socket of [ends.pair.here, ends.pair.there]) {
    socket.setSendBuffer(65_536);
    socket.setReceiveBuffer(65_536);
  }
  await exchange(ends, ends.client);
});

Deno.test("keys that the server changes in mid-flight, over a unix socket, cost no byte", async () => {
  using clients = TlsContext.psk("client", KEYS);
  using servers = TlsContext.psk("server", KEYS);
  using ends = await Ends.connectUnix(clients, servers);
  await exchange(ends, ends.server);
});
