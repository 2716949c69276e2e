/** What the daemon's log looks like, and what is not in it. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { DaemonLog, type LogOptions } from "../../daemon/life/log.ts";
import { logEvents } from "../../daemon/life/log_events.ts";
import { redact, redactText } from "../../daemon/life/redact.ts";
import { EventLog } from "../../daemon/service/event_log.ts";
import { sampleSession } from "./sample_session.ts";

/** Logs events, and returns the lines. */
function logged(options: Omit<LogOptions, "write">, act: (events: EventLog) => void): string[] {
  const lines: string[] = [];
  using log = new DaemonLog({ ...options, write: (line) => lines.push(line) });
  const events = new EventLog();
  using _listening = logEvents(events, log.logger);
  act(events);
  return lines;
}

const paused = {
  event: "status",
  id: "vm-1",
  status: "postcopy-paused",
  reason: "Connection lost {by} a peer:\nsecond line",
  code: "CONNECTION_LOST",
} as const;

Deno.test("DaemonLog writes an event a line as text, with the session's name", () => {
  const [line, ...others] = logged(
    { format: "text", level: "info", journal: false },
    (events) => events.add(paused),
  );
  assertEquals(others, []);
  assertEquals(
    line!.replace(/^\S+ +/, "").trimEnd(),
    "warning Session is postcopy-paused: " +
      "Connection lost {by} a peer: | second line session=vm-1 status=postcopy-paused code=CONNECTION_LOST",
  );
});

Deno.test("DaemonLog writes an event a line as JSON", () => {
  const [line] = logged({ format: "json", level: "info" }, (events) => events.add(paused));
  const { level, properties, message } = JSON.parse(line!) as Record<string, unknown>;
  assertEquals(level, "WARN");
  assertEquals(properties, {
    session: "vm-1",
    status: "postcopy-paused",
    code: "CONNECTION_LOST",
  });
  assertStringIncludes(String(message), "Connection lost {by} a peer:\nsecond line");
});

Deno.test("DaemonLog tells the journal how important a line is, and leaves the time to it", () => {
  const [started, ended] = logged({ format: "text", level: "info", journal: true }, (events) => {
    events.add({ event: "started", session: sampleSession() });
    events.add({ event: "ended", session: sampleSession({ status: "failed", reason: "No" }) });
  });
  assertEquals(
    started,
    "<6>Session started session=vm-1 direction=outgoing image=vm.img peer=tcp:192.0.2.1:4444\n",
  );
  assertStringIncludes(ended!, "<3>Session failed: No session=vm-1");
});

Deno.test("DaemonLog leaves out what is less important than it was told, from a change on too", () => {
  const lines: string[] = [];
  const write = (line: string): void => void lines.push(line);
  using log = new DaemonLog({ format: "text", level: "error", journal: true, write });
  log.logger.warning("one");
  log.change({ format: "text", level: "debug", journal: true, write });
  log.logger.debug("two");
  assertEquals(lines, ["<7>two\n"]);
});

Deno.test("redact leaves out what gives access, wherever it stands, and keeps the names of files", () => {
  const found = redact({
    token: "abc",
    tokenFile: "/etc/token",
    tls: { password: "x", credentials: "/etc/pki" },
    headers: [{ Authorization: "Bearer abc.def" }],
    text: "sent Bearer abc.def== to https://h/?token=abc&a=1",
  });
  assertEquals(found, {
    token: "[not shown]",
    tokenFile: "/etc/token",
    tls: { password: "[not shown]", credentials: "/etc/pki" },
    headers: [{ Authorization: "[not shown]" }],
    text: "sent Bearer [not shown] to https://h/?token=[not shown]&a=1",
  });
  assertEquals(redactText("nothing secret"), "nothing secret");
});
