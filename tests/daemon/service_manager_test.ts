/** What a service manager hears of a daemon. */
import "../support/native.ts";
import { assertEquals, assertMatch } from "@std/assert";
import { ServiceManager, takeManagerEnvironment } from "../../daemon/life/service_manager.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { NotifySocket } from "./notify_socket.ts";

function abstractName(): string {
  return `@postcopy-test-${crypto.randomUUID()}`;
}

Deno.test(
  "ServiceManager tells of the start, a reload and the end in their order, at an abstract socket",
  leavingNoDescriptors(async () => {
    using socket = new NotifySocket(abstractName());
    using manager = new ServiceManager({ socket: socket.name });
    // None is waited for: they come in their order all the same.
    const all = [
      manager.ready("0 sessions"),
      manager.reloading(),
      manager.ready("1 session"),
      manager.stopping("finishing\nREADY=1"),
      manager.extend(1500.5, "finishing"),
    ];
    await Promise.all(all);
    const [ready, reloading, again, stopping, extended] = socket.take();
    assertEquals(ready, { READY: "1", STATUS: "0 sessions" });
    assertEquals(reloading!["RELOADING"], "1");
    assertMatch(reloading!["MONOTONIC_USEC"]!, /^\d+$/);
    assertEquals(again, { READY: "1", STATUS: "1 session" });
    // A text is a line, and says nothing by itself.
    assertEquals(stopping, { STOPPING: "1", STATUS: "finishing READY=1" });
    assertEquals(extended, { EXTEND_TIMEOUT_USEC: "1500500", STATUS: "finishing" });
  }),
);

Deno.test(
  "ServiceManager tells at a socket of the file system too",
  leavingNoDescriptors(async () => {
    const directory = await Deno.makeTempDir({ prefix: "postcopy-test-" });
    try {
      using socket = new NotifySocket(`${directory}/notify`);
      using manager = new ServiceManager({ socket: socket.name });
      await manager.status("well");
      assertEquals(socket.take(), [{ STATUS: "well" }]);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  }),
);

Deno.test("ServiceManager says that it is well as long as it is, and nothing when it is not", async () => {
  using socket = new NotifySocket(abstractName());
  let well = true;
  using manager = new ServiceManager({
    socket: socket.name,
    watchdog: "20000",
    watchdogPid: `${Deno.pid}`,
  });
  assertEquals(manager.watchdog, 20);
  manager.watch(() => well);
  await socket.hears("a sign of life", (message) => message["WATCHDOG"] === "1");
  well = false;
  await manager.status("said last");
  await socket.hears("the status", (message) => message["STATUS"] === "said last");
  const count = socket.messages.length;
  let asked = 0;
  using other = new ServiceManager({ socket: socket.name, watchdog: "20000" });
  const { promise, resolve } = Promise.withResolvers<void>();
  other.watch(() => (++asked === 3 && resolve(), false));
  await promise; // the first one's time has passed as often
  assertEquals(socket.take().length, count);
});

Deno.test("ServiceManager has no watchdog of another process, nor without a socket", () => {
  using other = new ServiceManager({ socket: "@x", watchdog: "20000", watchdogPid: "1" });
  using deaf = new ServiceManager({ watchdog: "20000" });
  assertEquals([other.watchdog, deaf.watchdog], [undefined, undefined]);
});

Deno.test("ServiceManager says once why nobody hears, and goes on", async () => {
  const troubles: string[] = [];
  using manager = new ServiceManager({ socket: abstractName() }, (text) => troubles.push(text));
  await manager.ready("up");
  await manager.status("up");
  assertEquals(troubles, ["Service manager does not hear at NOTIFY_SOCKET: ECONNREFUSED"]);
  using wrong = new ServiceManager({ socket: "x".repeat(200) }, (text) => troubles.push(text));
  await wrong.ready("up");
  assertEquals(troubles.length, 2);
});

Deno.test("ServiceManager waits for a manager whose queue is full", async () => {
  using socket = new NotifySocket(abstractName());
  const troubles: string[] = [];
  using manager = new ServiceManager({ socket: socket.name }, (text) => troubles.push(text));
  const queue = Number(await Deno.readTextFile("/proc/sys/net/unix/max_dgram_qlen"));
  const many = Array.from({ length: queue + 20 }, (_, index) => manager.status(`${index}`));
  let over = false;
  const all = Promise.all(many).then(() => over = true);
  while (!over) {
    socket.take();
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await all;
  socket.take();
  assertEquals(socket.messages.map(({ STATUS }) => STATUS), many.map((_, index) => `${index}`));
  assertEquals(troubles, []);
});

Deno.test("takeManagerEnvironment leaves nothing to processes that are started", () => {
  Deno.env.set("NOTIFY_SOCKET", "@here");
  Deno.env.set("WATCHDOG_USEC", "30000000");
  assertEquals(takeManagerEnvironment(), {
    socket: "@here",
    watchdog: "30000000",
    watchdogPid: undefined,
  });
  assertEquals([Deno.env.get("NOTIFY_SOCKET"), Deno.env.get("WATCHDOG_USEC")], [
    undefined,
    undefined,
  ]);
});
