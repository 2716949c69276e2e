/** The signal by which a user of `serve` ends the precopy over multifd. */
import "../support/native.ts";
import {
  assert,
  assertEquals,
  assertGreater,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { formatSocketAddress } from "../../ffi/socket_address.ts";
import { postcopyText, progressText } from "../../server/command/serve_report.ts";
import type { SourceStatistics } from "../../server/outgoing/statistics.ts";
import { until, within } from "../support/deadline.ts";
import { TestImage } from "../support/images.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { ServeProcess } from "../support/processes.ts";
import { StillGuest } from "../support/still_guest.ts";

const PAGES = 1024;
/** All pages would take half a minute. */
const SLOW = ["--multifd-channels", "2", "--max-postcopy-bandwidth", "128K"];

Deno.test("serve --postcopy-after signal hands the guest over at SIGUSR2, and the rest follows on demand", async () => {
  using image = await TestImage.make({ ram: PAGES });
  const guest = new StillGuest();
  await using destination = new Destination({ guest, multifdChannels: 2 });
  const to = formatSocketAddress(await destination.listen(LOOPBACK));
  await using source = new ServeProcess(image.path, to, [...SLOW, "--postcopy-after", "signal"]);
  assert(await source.says(`or at SIGUSR2: kill -USR2 ${source.pid}`));
  await until("some pages", () => destination.statistics().received > 0);
  source.kill("SIGUSR2");
  assert(await source.says("SIGUSR2: switching to postcopy"));
  await within("the guest to start", destination.waitFor("postcopy-active"));
  assertGreater(PAGES, destination.statistics().received);
  source.kill("SIGUSR2");
  assert(await source.says("SIGUSR2: the guest was handed over already: postcopy-active"));
  const words = guest.words();
  let sum = 0;
  for (let at = 0; at < words.length; at += 1024) sum += words[at]!; // asks for all that is missing
  await within("the end", destination.finished);
  image.assertEqualMemory(guest.blocks);
  const { requests, received, duplicates } = destination.statistics();
  assertGreater(requests, 0, `${sum}`);
  assertEquals([received, duplicates], [PAGES, 0]);
  const { code, errors } = await within("serve to end", source.ended);
  assertEquals(code, 0, errors);
});

Deno.test("serve over multifd goes on at SIGUSR2 where the destination was not told of postcopy", async () => {
  using image = await TestImage.make({ ram: 512 });
  const guest = new StillGuest();
  await using destination = new Destination({ guest, multifdChannels: 2 });
  const to = formatSocketAddress(await destination.listen(LOOPBACK));
  const args = ["--multifd-channels", "2", "--max-postcopy-bandwidth", "512K"];
  await using source = new ServeProcess(image.path, to, args);
  await until("some pages", () => destination.statistics().received > 0);
  source.kill("SIGUSR2");
  assert(await source.says("SIGUSR2: cannot switch to postcopy"));
  await within("the end", destination.finished);
  image.assertEqualMemory(guest.blocks);
  const { code, errors } = await within("serve to end", source.ended);
  assertEquals([code, destination.statistics().requests], [0, 0], errors);
});

Deno.test("postcopyText says what the signal does, wherever the migration stands", () => {
  assertMatch(postcopyText("active", true, Infinity), /^SIGUSR2: switching to postcopy: /);
  assertMatch(postcopyText("setup", true, 2000), /switching to postcopy/);
  assertMatch(postcopyText("active", true, undefined), /--postcopy-after signal the next time/);
  assertMatch(postcopyText("active", false, undefined), /there is no precopy to end$/);
  for (const status of ["device", "postcopy-active", "completed"] as const) {
    assertMatch(postcopyText(status, true, Infinity), new RegExp(`already: ${status}$`));
  }
});

Deno.test("progressText says how to switch as long as that can be done", () => {
  const ram = { remaining: 8192, "page-size": 4096, "postcopy-requests": 0, mbps: 8 };
  const at = (status: string) => ({ status, ram, "requests-served": 0 }) as SourceStatistics;
  const how = { postcopyAfter: Infinity };
  assertStringIncludes(
    progressText(at("active"), how),
    `active (kill -USR2 ${Deno.pid} switches to postcopy), 2 pages left`,
  );
  for (
    const text of [
      progressText(at("active")),
      progressText(at("active"), {}),
      progressText(at("postcopy-active"), how),
    ]
  ) {
    assertEquals(text.includes("USR2"), false, text);
  }
});
