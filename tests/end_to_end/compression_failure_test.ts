/** A library that fails while it compresses: the migration ends, the guest never does. */
import "../support/native.ts";
import { assertEquals, assertGreater, assertMatch } from "@std/assert";
import type { WorkloadResult } from "../../client/command/workload_report.ts";
import { within } from "../support/deadline.ts";
import { LiveWorkloadProcess, type ProcessEnd, WorkloadProcess } from "../support/processes.ts";
import { needsCommand, testUnless } from "../support/skip.ts";

const SOURCE = new URL("./failing_zstd.c", import.meta.url).pathname;

/** Migrates from a source whose libzstd fails on its 500th page. */
async function migrate(
  policy: string,
): Promise<{ source: LiveWorkloadProcess; end: ProcessEnd; result: WorkloadResult | undefined }> {
  const directory = await Deno.makeTempDir({ prefix: "postcopy-test-" });
  try {
    const args = ["-shared", "-fPIC", "-nostdlib", "-o", `${directory}/libzstd.so.1`, SOURCE];
    const { success, stderr } = await new Deno.Command("gcc", { args }).output();
    assertEquals([success, new TextDecoder().decode(stderr)], [true, ""]);
    await using destination = new WorkloadProcess("tcp:127.0.0.1:0", ["--until-touched"]);
    const how = ["--threads", "2", "--rate", "2000", "--postcopy", policy, "--compress", "zstd"];
    await using source = new LiveWorkloadProcess(await destination.address(), how, {
      LD_LIBRARY_PATH: directory,
    });
    const end = await within("the source to end", source.ended);
    if (end.code === 0) await within("the destination to end", destination.ended);
    return { source, end, result: destination.last("result") };
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

testUnless(
  needsCommand("gcc", "gcc"),
  "LiveSource ends a migration when a page cannot be compressed, and the guest goes on",
  async () => {
    const { source, end } = await migrate("never");
    assertEquals(end.code, 1);
    assertMatch(
      end.errors,
      /Page \d+ cannot be compressed \(zstd\): libzstd\.so\.1.*not enough memory: the guest goes on here/,
    );
    const { statistics, workload, check } = source.result;
    assertEquals(statistics.status, "failed");
    assertEquals(workload.failures, []);
    assertGreater(workload.accesses, 0);
    assertEquals([check?.wrongPages, check?.writes?.found], [0, workload.accesses]);
  },
);

testUnless(
  needsCommand("gcc", "gcc"),
  "LiveSource sends a page as it is that cannot be compressed once the guest runs elsewhere",
  async () => {
    const { source, end, result } = await migrate("now");
    assertEquals([end.code, end.errors], [0, ""]);
    const { compression, ram } = source.result.statistics;
    assertGreater(compression!.failed, 0);
    assertEquals(ram.remaining, 0);
    assertEquals([result?.check.wrongPages, result?.check.pages], [0, 16_384]);
  },
);
