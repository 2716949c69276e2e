import "../support/native.ts";
import { assert, assertEquals, assertGreater, assertStringIncludes } from "@std/assert";
import type { WorkloadResult } from "../../client/command/workload_report.ts";
import { formatSocketAddress, parseSocketAddress } from "../../ffi/socket_address.ts";
import { runHere } from "../command/command_lines.ts";
import { until, within } from "../support/deadline.ts";
import { FaultRelay } from "../support/fault_relay.ts";
import { LiveWorkloadProcess, type ProcessEnd, WorkloadProcess } from "../support/processes.ts";

const PAGES = 16_384; // 64 MiB
/** Precopy at this rate takes a minute: it is not over before what a test does meanwhile. */
const SLOW = ["--max-bandwidth", "1M"];
/** Half a minute until all memory is there by itself: the guest's threads ask for most of it. */
const ASKED = ["--max-postcopy-bandwidth", "2M"];
const CALM = ["--threads", "2", "--rate", "2000"];

/** A migration whose two ends have ended. */
interface Ended {
  readonly source: LiveWorkloadProcess;
  readonly sourceEnd: ProcessEnd;
  readonly destinationEnd: ProcessEnd;
  readonly result: WorkloadResult | undefined;
}

/** Migrates a guest, does something meanwhile, and waits for both ends. */
async function migrate(
  sourceArgs: readonly string[],
  destinationArgs: readonly string[] = ["--until-touched"],
  meanwhile: (source: LiveWorkloadProcess, destination: WorkloadProcess) => Promise<void> = () =>
    Promise.resolve(),
): Promise<Ended> {
  await using destination = new WorkloadProcess("tcp:127.0.0.1:0", ["--write", ...destinationArgs]);
  await using source = new LiveWorkloadProcess(await destination.address(), sourceArgs);
  await meanwhile(source, destination);
  const sourceEnd = await within("the source to end", source.ended);
  const destinationEnd = await within("the destination to end", destination.ended);
  return { source, sourceEnd, destinationEnd, result: destination.last("result") };
}

/** Sees that the guest runs at the destination, with every byte and every write. */
function assertMoved({ source, sourceEnd, destinationEnd, result }: Ended): WorkloadResult {
  assertEquals([sourceEnd.code, sourceEnd.errors], [0, ""]);
  assertEquals([destinationEnd.code, destinationEnd.errors], [0, ""]);
  const { statistics, workload, stoppedAt, check } = source.result;
  assertEquals([statistics.status, workload.failures, check], ["completed", [], undefined]);
  assert(result !== undefined);
  const { expected, found } = result.check.writes!;
  assertEquals([result.check.wrongPages, result.check.pages, found], [0, PAGES, expected]);
  assertEquals(expected, workload.accesses + result.workload.accesses);
  assertGreater(workload.accesses, 0);
  assertGreater(result.workload.accesses, 0);
  assertGreater(result.startedAt, stoppedAt!);
  return result;
}

/** Sees that the guest goes on at the source, with every byte. */
function assertUnharmed(source: LiveWorkloadProcess): void {
  const { workload, check } = source.result;
  assertEquals(check, {
    pages: PAGES,
    wrongPages: 0,
    writes: { expected: workload.accesses, found: workload.accesses },
  });
  assertGreater(workload.accesses, 0);
}

Deno.test("workload --postcopy now moves a guest that writes as fast as it can", async () => {
  const ended = await migrate(["--postcopy", "now", "--threads", "3", ...ASKED]);
  const { destination } = assertMoved(ended);
  assertGreater(destination.requests, 0);
  assertEquals(ended.source.result.statistics.ram["precopy-bytes"], 0);
});

Deno.test("workload --postcopy auto switches when the guest writes faster than the link", async () => {
  const link = ["--max-bandwidth", "100M", "--downtime-limit", "1"];
  const ended = await migrate(["--postcopy", "auto", ...link, "--threads", "3"]);
  assertMoved(ended);
  const { ram } = ended.source.result.statistics;
  assertGreater(ram["dirty-sync-count"], 1);
  assertGreater(ram["precopy-bytes"], 0);
  assertGreater(ram["postcopy-bytes"], 0);
});

Deno.test("workload --postcopy never moves a calm guest by precopy alone", async () => {
  const ended = await migrate(["--postcopy", "never", ...CALM]);
  const { destination } = assertMoved(ended);
  assertEquals([destination.requests, destination.faults], [0, 0]);
});

Deno.test("workload --postcopy 1 moves a guest to a destination with memfd memory", async () => {
  const limit = ["--downtime-limit", "0", "--max-bandwidth", "200M"];
  const ended = await migrate(
    ["--postcopy", "1", ...limit, ...CALM],
    ["--until-touched", "--backing", "memfd", "--threads", "5"],
  );
  assertMoved(ended);
});

Deno.test("workload --compressible moves a guest whose pages repeat their words", async () => {
  assertMoved(await migrate(["--postcopy", "now", "--threads", "3", "--compressible", "16"]));
});

Deno.test("workload switches to postcopy on SIGUSR2", async () => {
  const ended = await migrate([...SLOW, ...ASKED, ...CALM], ["--until-touched"], async (source) => {
    await source.progress("precopy", ({ ram }) => ram["precopy-bytes"] > 0);
    source.kill("SIGUSR2");
  });
  const { destination } = assertMoved(ended);
  assertGreater(destination.requests, 0);
});

Deno.test("workload that is interrupted leaves its guest unharmed", async () => {
  const { source, sourceEnd, destinationEnd } = await migrate(
    [...SLOW, ...CALM],
    [],
    async (source) => {
      await source.progress("precopy", ({ ram }) => ram["precopy-bytes"] > 0);
      source.kill("SIGINT");
    },
  );
  assertEquals(sourceEnd.code, 130);
  assertStringIncludes(sourceEnd.errors, "Migration was cancelled: the guest goes on here");
  assertEquals(source.result.statistics.status, "cancelled");
  assertUnharmed(source);
  assertEquals(destinationEnd.code, 1);
});

Deno.test("workload whose destination dies in precopy leaves its guest unharmed", async () => {
  const { source, sourceEnd } = await migrate(
    [...SLOW, ...CALM],
    [],
    async (source, destination) => {
      await source.progress("precopy", ({ ram }) => ram["precopy-bytes"] > 0);
      destination.kill("SIGKILL");
    },
  );
  assertEquals(sourceEnd.code, 1);
  assertStringIncludes(sourceEnd.errors, "the guest goes on here");
  assertEquals(source.result.statistics.status, "failed");
  assertUnharmed(source);
});

Deno.test("workload whose destination dies in postcopy does not run its guest twice", async () => {
  const { source, sourceEnd } = await migrate(
    ["--postcopy", "now", "--max-postcopy-bandwidth", "1M", "--recover-timeout", "0", ...CALM],
    ["--rate", "100"],
    async (_, destination) => {
      await destination.event(
        "accesses there",
        (event) => event.event === "progress" && event.workload.accesses > 0,
      );
      destination.kill("SIGKILL");
    },
  );
  assertEquals(sourceEnd.code, 1);
  assertStringIncludes(sourceEnd.errors, "at the destination already");
  assertEquals([source.result.statistics.status, source.result.check], ["failed", undefined]);
});

Deno.test("workload that is interrupted in postcopy warns, and abandons its guest the second time", async () => {
  const { source, sourceEnd } = await migrate(
    ["--postcopy", "now", "--max-postcopy-bandwidth", "1M", ...CALM],
    ["--rate", "100"],
    async (source, destination) => {
      await destination.event(
        "accesses there",
        (event) => event.event === "progress" && event.workload.accesses > 0,
      );
      source.kill("SIGINT");
      // Two signals may arrive as one.
      await until("pause", () => {
        source.kill("SIGINT");
        return destination.last("paused") !== undefined;
      });
      destination.kill("SIGINT");
    },
  );
  assertEquals(sourceEnd.code, 130);
  assertStringIncludes(sourceEnd.errors, "The guest runs at the destination and lacks");
  assertEquals(source.result.check, undefined);
});

Deno.test("workload that is told to end in postcopy says what the guest lacks, and goes on", async () => {
  const { sourceEnd, source, result } = await migrate(
    ["--postcopy", "now", ...ASKED, ...CALM],
    ["--until-touched"],
    async (source, destination) => {
      await destination.event(
        "accesses there",
        (event) => event.event === "progress" && event.workload.accesses > 0,
      );
      for (const signal of ["SIGTERM", "SIGHUP", "SIGTERM"] as const) {
        source.kill(signal);
        await source.says(`that only this sends: going on until it has them all (${signal})`);
      }
    },
  );
  assertEquals(sourceEnd.code, 0, sourceEnd.errors);
  assertEquals(source.result.statistics.status, "completed");
  assertEquals(result?.check.wrongPages, 0);
});

Deno.test("workload tells that it is paused when its connections break, and that it goes on", async () => {
  await using destination = new WorkloadProcess("tcp:127.0.0.1:0", ["--write", "--until-touched"]);
  await using relay = await FaultRelay.start(
    parseSocketAddress(await destination.address()),
  );
  const uri = formatSocketAddress(relay.address);
  const args = ["--postcopy", "now", ...ASKED, ...CALM];
  await using source = new LiveWorkloadProcess(uri, args);
  await destination.event(
    "accesses there",
    (event) => event.event === "progress" && event.workload.accesses > 0,
  );
  relay.cut();
  assertEquals(await source.says("postcopy: Paused: Destination "), true);
  assertEquals(await source.says(`Trying to connect to ${uri}`), true);
  assertEquals(await source.says("postcopy: Connected again: asking what the guest lacks"), true);
  assertEquals(await source.says("postcopy: Going on: "), true);
  const { code, errors } = await within("the source to end", source.ended);
  assertEquals(code, 0, errors);
  await within("the destination to end", destination.ended);
  assertEquals(destination.last("result")?.check.wrongPages, 0);
});

Deno.test("workload without a destination leaves its guest unharmed and ends with 4", async () => {
  await using source = new LiveWorkloadProcess("tcp:127.0.0.1:1", CALM);
  const { code, errors } = await within("the end", source.ended);
  assertEquals(code, 4);
  assertStringIncludes(errors, "ECONNREFUSED");
  assertUnharmed(source);
});

Deno.test("workload at the source refuses arguments that it does not understand", async () => {
  const to = "tcp:127.0.0.1:1";
  for (
    const [args, complaint] of [
      [["--postcopy", "0"], "Unknown --postcopy: 0: use never, auto, now, or a number of rounds"],
      [["--postcopy", "later"], "Unknown --postcopy: later"],
      [["--downtime-limit", "-"], "--downtime-limit"],
      [["--size", "5000"], "Size is no positive multiple of 4096: 5000"],
      [["--compressible", "3"], "Unknown --compressible: 3: use 1, 2, 4, 8, 16, 32, 64"],
      [["--page-size", "3M"], "Unknown --page-size: 3M: use 4K, 2M, 1G"],
      [["--threads", "0"], "Threads must be a whole number from 1"],
      [["--warm-up", "soon"], "after --warm-up: soon"],
      [["here"], "Unexpected argument: here"],
    ] as const
  ) {
    const { code, errors } = await runHere("server/main.ts", "workload", "--to", to, ...args);
    assertEquals(code, 2, errors);
    assertStringIncludes(errors, complaint);
  }
});
