/** `top` and `status` before somebody who looks at a terminal. */
import "../support/native.ts";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { SessionView } from "../../daemon/service/session.ts";
import { until, within } from "../support/deadline.ts";
import { TestImage } from "../support/images.ts";
import { skipReason, testUnless } from "../support/skip.ts";
import { DaemonPlace } from "./daemon_process.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;

/** Whether `script`, of util-linux, is there: it gives a command a terminal of its own. */
async function hasScript(): Promise<boolean> {
  try {
    return (await new Deno.Command("script", { args: ["--version"] }).output()).success;
  } catch {
    return false;
  }
}

const NO_SCRIPT = await hasScript()
  ? undefined
  : skipReason("missing package", "util-linux has script");

testUnless(
  NO_SCRIPT,
  "top draws over its screen, shows a daemon that was started anew, ends at q, and gives the terminal back",
  async () => {
    using image = await TestImage.make({ ram: 64 });
    await using place = new DaemonPlace();
    place.configure({ vm: image.path });
    const first = await place.start();
    const words = [Deno.execPath(), "run", "-A", MAIN, "top", "--interval", "0.05"];
    const command = [...words, "--daemon", `unix:${place.socket}`].join(" ");
    const terminal = new Deno.Command("script", {
      args: ["-q", "-e", "-c", command, "/dev/null"],
      env: { TERM: "xterm" },
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    let shown = "";
    const reading = (async () => {
      for await (const text of terminal.stdout.pipeThrough(new TextDecoderStream())) shown += text;
    })();
    const keys = terminal.stdin.getWriter();
    try {
      await until("the screen", () => shown.includes("0 running"));
      await first.end("SIGKILL");
      await until("the silence", () => shown.includes("No daemon listens"));
      const before = shown.length;
      await place.start();
      await until("the screen again", () => shown.slice(before).includes("0 running"));
      await keys.write(new TextEncoder().encode("q"));
      const { code } = await within("top to end", terminal.status);
      await reading;
      assertEquals(code, 0);
      assert(shown.indexOf("\x1b[?1049h") < shown.indexOf("0 running"));
      assertStringIncludes(shown.slice(-40), "\x1b[?25h\x1b[?1049l");
    } finally {
      await keys.abort().catch(() => {});
      try {
        terminal.kill("SIGKILL");
      } catch {
        // It has ended.
      }
    }
  },
);

testUnless(
  NO_SCRIPT,
  "status prints a line a session on a terminal as narrow as it may be, and all of it into a pipe",
  async () => {
    await using place = new DaemonPlace();
    place.configure({}, { images: { directory: place.directory } });
    const daemon = await place.start();
    const image = "a-machine-with-a-name-that-no-terminal-has-a-line-for.img";
    const body = { direction: "incoming", image, listen: "tcp:127.0.0.1:0" };
    const { id } = await daemon.client.ask<SessionView>("/migrations", { method: "POST", body });
    const words = ["run", "-A", MAIN, "status", "--daemon", `unix:${place.socket}`];
    const piped = await new Deno.Command(Deno.execPath(), { args: words }).output();
    assertMatch(new TextDecoder().decode(piped.stdout), new RegExp(`\n${id}  ${image}  tcp:`));
    const command = `stty cols 60; ${[Deno.execPath(), ...words].join(" ")}`;
    const { code, stdout } = await within(
      "status on a terminal",
      new Deno.Command("script", { args: ["-q", "-e", "-c", command, "/dev/null"], stdin: "null" })
        .output(),
    );
    const lines = new TextDecoder().decode(stdout).trimEnd().split(/\r?\n/);
    assertEquals([code, lines.length], [0, 2], lines.join("\n"));
    assertMatch(lines[0]!, /^SESSION +IMAGE +PEER +STATUS/);
    assertMatch(lines[1]!, new RegExp(`^${id}  a-ma…r.img  tcp:`));
    for (const line of lines) assert([...line].length <= 60, line);
  },
);
