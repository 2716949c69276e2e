/** Monitors that are none, say nothing, or answer as they should. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { Monitor } from "../../../daemon/qmp/monitor.ts";
import { MonitorError, type MonitorErrorCode } from "../../../daemon/qmp/monitor_error.ts";
import { until, within } from "../../support/deadline.ts";
import { answering, type Answers, GREETING, QmpPeer } from "./qmp_peer.ts";

/** Milliseconds: no answer is to be waited for longer than this by a test of silence. */
const SOON = 50;
/** Milliseconds: long enough to connect, and waited for twice. */
const A_WHILE = 1_000;
/** Milliseconds: long enough for every answer. */
const PATIENT = 60_000;

function connect(
  peer: QmpPeer,
  timeout = PATIENT,
  options: { signal?: AbortSignal; onEvent?: (event: { name: string }) => void } = {},
): Promise<Monitor> {
  const address = { transport: "unix", path: peer.path } as const;
  return within("the monitor", Monitor.connect({ address, timeout, ...options }));
}

async function assertFails(
  code: MonitorErrorCode,
  message: RegExp,
  failing: Promise<unknown>,
): Promise<void> {
  const error = await assertRejects(() => failing, MonitorError);
  assertEquals(error.code, code, error.message);
  assertMatch(error.message, message);
}

const QEMU: Answers = answering({ qmp_capabilities: {}, "query-status": { status: "running" } });

for (
  const [what, bytes] of [
    [
      "the monitor for people",
      "QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) \r\n",
    ],
    ["JSON that is no greeting", '{"return": {}}\n'],
    ["a list", "[1, 2]\n"],
    ["a number", "7\n"],
    ["bytes without a line", new Uint8Array(3 << 20)],
    ["bytes that are no text", Uint8Array.of(0xff, 0xfe, 0, 0x80, 10)],
  ] as const
) {
  Deno.test(`Monitor refuses ${what} as no QMP`, async () => {
    await using peer = new QmpPeer(bytes);
    await assertFails(
      "NOT_QMP",
      /is no QMP monitor of a QEMU .*-monitor is for people$/,
      connect(peer),
    );
  });
}

Deno.test("Monitor says that nobody listens, and where", async () => {
  const address = { transport: "unix", path: "/nowhere/qmp" } as const;
  const failing = Monitor.connect({ address, timeout: PATIENT });
  await assertFails("UNREACHABLE", /at unix:\/nowhere\/qmp: .*was started with -qmp/, failing);
});

Deno.test("Monitor says so when the peer hangs up in place of a greeting", async () => {
  await using peer = new QmpPeer("");
  const failing = connect(peer);
  await peer.came(1);
  peer.hangUp();
  await assertFails("UNREACHABLE", /closed the QMP session/, failing);
});

for (const [what, greeting] of [["says nothing", ""], ["greets alone", GREETING]] as const) {
  Deno.test(`Monitor gives up on a peer that ${what}`, async () => {
    await using peer = new QmpPeer(greeting);
    await assertFails("SILENT", /one program at a time/, connect(peer, SOON));
  });
}

Deno.test("Monitor ends a wait for a silent peer when its signal is aborted", async () => {
  await using peer = new QmpPeer("");
  const abort = new AbortController();
  const failing = connect(peer, PATIENT, { signal: abort.signal });
  await peer.came(1);
  abort.abort(new Error("enough"));
  await assertRejects(() => failing, Error, "enough");
});

Deno.test("Monitor.execute returns what QEMU does, and refuses with its words", async () => {
  await using peer = new QmpPeer(GREETING, QEMU);
  await using monitor = await connect(peer);
  assertEquals(monitor.version.major, 7);
  assertEquals([monitor.atLeast(7, 2), monitor.atLeast(7, 3), monitor.atLeast(8, 0)], [
    true,
    false,
    false,
  ]);
  assertEquals(await monitor.execute("query-status"), { status: "running" });
  const refused = monitor.execute("query-what");
  await assertFails("REFUSED", /^QEMU refuses query-what: The command query-what has not/, refused);
  assertEquals(await monitor.execute("query-status"), { status: "running" });
});

Deno.test("Monitor.execute gives up on a command that is not answered, and sends no later one behind it", async () => {
  await using peer = new QmpPeer(GREETING, answering({ qmp_capabilities: {}, hang: undefined }));
  await using monitor = await connect(peer, A_WHILE);
  await assertFails("SILENT", /does not answer hang within/, monitor.execute("hang"));
  // It is never sent: what was given up must not be done once QEMU reads on.
  await assertFails("SILENT", /does not answer quit within/, monitor.execute("quit"));
  assertEquals(peer.heard.map((line) => JSON.parse(line).execute), ["qmp_capabilities", "hang"]);
});

Deno.test("Monitor.executeOutOfBand passes a command that hangs", async () => {
  const answers = answering({ qmp_capabilities: {}, hang: undefined, "migrate-pause": {} });
  await using peer = new QmpPeer(GREETING, answers);
  await using monitor = await connect(peer);
  const hanging = monitor.execute("hang").catch((error) => error as MonitorError);
  await until("the command", () => peer.heard.some((line) => line.includes('"hang"')));
  assertEquals(await monitor.executeOutOfBand("migrate-pause"), {});
  assertEquals(JSON.parse(peer.heard.at(-1)!)["exec-oob"], "migrate-pause");
  peer.hangUp();
  assertEquals((await hanging as MonitorError).code, "UNREACHABLE");
});

Deno.test("Monitor.executeOutOfBand speaks in band to a monitor that cannot do more", async () => {
  const answers: Answers = (line) => {
    const { execute, id, arguments: args } = JSON.parse(line);
    const shared = execute === "qmp_capabilities" && args !== undefined;
    const error = { class: "GenericError", desc: "This monitor does not support out-of-band" };
    return `${JSON.stringify(shared ? { error, id } : { return: { execute }, id })}\n`;
  };
  await using peer = new QmpPeer(GREETING, answers);
  await using monitor = await connect(peer);
  assertEquals(await monitor.executeOutOfBand("migrate-pause"), { execute: "migrate-pause" });
});

Deno.test("Monitor tells events, and passes over what it does not know", async () => {
  const event = '{"event": "RESUME", "timestamp": {"seconds": 1, "microseconds": 2}}\n';
  await using peer = new QmpPeer(GREETING, (line) => {
    const answer = QEMU(line);
    return line.includes("query-status")
      ? `${event}{"news": 1}\n{"id": 99, "return": 1}\n${answer}`
      : answer;
  });
  const events: string[] = [];
  const onEvent = ({ name }: { name: string }) => void events.push(name);
  await using monitor = await connect(peer, PATIENT, { onEvent });
  await monitor.execute("query-status");
  assertEquals(events, ["RESUME"]);
});

Deno.test("Monitor.reconnect goes on at a new connection once the old one is over", async () => {
  await using peer = new QmpPeer(GREETING, QEMU);
  await using monitor = await connect(peer);
  await monitor.reconnect();
  assertEquals(peer.connections, 1);
  const hanging = monitor.execute("query-status");
  await hanging;
  peer.hangUp();
  await assertRejects(async () => {
    for (;;) await monitor.execute("query-status");
  }, MonitorError);
  assert(monitor.ended);
  await monitor.reconnect();
  assertEquals(await monitor.execute("query-status"), { status: "running" });
  assertEquals(peer.connections, 2);
});
