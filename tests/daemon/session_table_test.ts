/** Sessions as people see them. */
import { assertEquals } from "@std/assert";
import { fitted, Screen } from "../../daemon/command/screen.ts";
import { sessionTable } from "../../daemon/command/session_table.ts";
import { sessionLines } from "../../daemon/command/session_text.ts";
import { screenLines } from "../../daemon/command/top_command.ts";
import type { ReceiveStatistics } from "../../client/receive/receive_statistics.ts";
import { sampleSession } from "./sample_session.ts";

const cells = (line: string | undefined) => line?.split(/ {2,}/);

Deno.test("sessionTable shows what is left, faults so far and the mean rate at a first look", () => {
  const [header, line] = sessionTable({ at: 0, sessions: [sampleSession()] });
  assertEquals(cells(header), [
    ...["SESSION", "IMAGE", "PEER", "STATUS", "LEFT", "HERE", "FAULTS", "LATENCY", "RATE"],
  ]);
  assertEquals(cells(line), [
    ...["vm-1", "vm.img", "tcp:192.0.2.1:4444", "postcopy-active"],
    ...["250", "75.0 %", "40", "25 us", "1.43 MiB/s"],
  ]);
});

Deno.test("sessionTable shows faults and bytes a second since the look before, and none of a session that is new", () => {
  const before = { at: 1000, sessions: [sampleSession({ faults: 40, bytes: 1 << 20 })] };
  const now = {
    at: 3000,
    sessions: [
      sampleSession({ faults: 340, bytes: 3 << 20, left: 100 }),
      sampleSession({ id: "vm-2" }),
    ],
  };
  const [, first, second] = sessionTable(now, before);
  assertEquals(cells(first)!.slice(4), ["100", "90.0 %", "150/s", "25 us", "1 MiB/s"]);
  assertEquals(cells(second)!.slice(4), ["250", "75.0 %", "-", "25 us", "-"]);
});

Deno.test("sessionTable shows a session that nobody has connected to without figures that are not known", () => {
  const statistics: ReceiveStatistics = {
    ...{ status: "setup", "total-time": 0, "page-size": 0, pages: 0, received: 0, normal: 0 },
    ...{ duplicate: 0, remaining: 0, unnamed: 0, duplicates: 0, "written-bytes": 0 },
    ...{ "main-bytes": 0, "preempt-bytes": 0 },
  };
  const session = { ...sampleSession({ direction: "incoming", status: "setup" }), statistics };
  const [, line] = sessionTable({ at: 0, sessions: [session] });
  assertEquals(cells(line)!.slice(3), ["setup", "-", "-", "-", "-", "-"]);
});

Deno.test("sessionTable shows of an image at a page server what has come of it, and of nobody nothing", () => {
  const lazy = { ...sampleSession({ direction: "lazy", status: "active" }) };
  const image = { pages: 100, received: 25, requested: 3, bytes: 102_400 };
  const [none, remote] = [{ processes: [] }, { processes: [], image }].map((statistics) => {
    const sessions = [{ ...lazy, statistics }];
    return [sessionTable({ at: 0, sessions })[1], sessionLines(sessions[0]!)[1]] as const;
  });
  assertEquals(cells(none![0])!.slice(3), ["active", "-", "-", "0", "-", "-"]);
  assertEquals(none![1], "active, no process needs it");
  assertEquals(cells(remote![0])!.slice(3), ["active", "75", "25.0 %", "0", "-", "-"]);
  assertEquals(/; 25\.0 % of the image is here$/.test(remote![1]!), true, remote![1]);
});

Deno.test("sessionTable shortens images and peers in their middle until lines fit, and nothing else", () => {
  const session = sampleSession({
    image: "a-machine-with-a-long-name.img",
    peer: "tcp:[2001:db8::1]:4444",
  });
  const [, whole] = sessionTable({ at: 0, sessions: [session] });
  assertEquals(cells(whole)!.slice(1, 3), [
    "a-machine-with-a-long-name.img",
    "tcp:[2001:db8::1]:4444",
  ]);
  const widths = [200, 110, 100].map((columns) =>
    sessionTable({ at: 0, sessions: [session] }, undefined, columns).map((line) => [...line].length)
  );
  assertEquals(widths, [[whole!.length, whole!.length], [110, 110], [100, 100]]);
  const [, least] = sessionTable({ at: 0, sessions: [session] }, undefined, 40);
  assertEquals(cells(least), [
    ...["vm-1", "a-ma…e.img", "tcp:…:4444", "postcopy-active"],
    ...["250", "75.0 %", "40", "25 us", "1.43 MiB/s"],
  ]);
});

Deno.test("sessionLines tells why a session is paused, and what is typed at the other end", () => {
  const lines = sessionLines(sampleSession({
    status: "postcopy-paused",
    reason: "Connection lost: the peer went away",
    remedy: "Nothing is lost",
    recover: "migrate_recover tcp:0.0.0.0:4444",
    notes: ["Hand-over is not marked"],
  }));
  assertEquals(lines.slice(2), [
    "Since 2026-01-01T00:00:00.000Z",
    "Paused: Connection lost: the peer went away",
    "Nothing is lost",
    "To go on, at the other end:",
    "  migrate_recover tcp:0.0.0.0:4444",
    "Note: Hand-over is not marked",
  ]);
});

Deno.test("screenLines counts those that run, and says at once what the daemon's silence means", () => {
  const ended = sampleSession({ id: "vm-3", status: "completed" });
  const paused = sampleSession({ id: "vm-2", status: "postcopy-paused", reason: "Broken" });
  const sessions = [sampleSession(), paused, ended];
  const lines = screenLines({ at: 0, sessions }, undefined, undefined);
  assertEquals(lines[0], "postcopy top: 2 running, 1 paused, 1 ended, 500 pages left");
  assertEquals(lines.slice(6, 9), ["", "vm-2", "Paused: Broken"]);
  assertEquals(screenLines({ at: 0, sessions: [] }, undefined, "No daemon"), [
    "postcopy top",
    "",
    "No daemon",
  ]);
});

Deno.test("fitted cuts lines to a screen, and says how many are not shown", () => {
  assertEquals(fitted(["abcdef", "b"], { columns: 3, rows: 2 }), ["abc", "b"]);
  assertEquals(fitted(["a", "b", "c"], { columns: 40, rows: 2 }), ["a", "and 2 more lines"]);
});

Deno.test("Screen draws over what it showed, and gives the terminal back once", () => {
  const written: string[] = [];
  const screen = new Screen((text) => written.push(text), () => ({ columns: 80, rows: 24 }));
  screen.draw(["one", "two"]);
  screen[Symbol.dispose]();
  screen[Symbol.dispose]();
  screen.draw(["three"]);
  assertEquals(written, [
    "\x1b[?1049h\x1b[?25l",
    "\x1b[Hone\x1b[K\r\ntwo\x1b[K\x1b[J",
    "\x1b[?25h\x1b[?1049l",
  ]);
});
