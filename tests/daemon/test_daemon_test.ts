/** That tests leave nothing behind. */
import "../support/native.ts";
import { assertEquals, assertRejects } from "@std/assert";
import { TestDaemon } from "./test_daemon.ts";

/** Runs something whose temporary files are in a directory of their own; returns what it left of them. */
async function leftBy(what: () => Promise<unknown>): Promise<string[]> {
  const before = Deno.env.get("TMPDIR");
  const temporary = await Deno.makeTempDir({ prefix: "postcopy-test-" });
  Deno.env.set("TMPDIR", temporary);
  try {
    await what();
    return [...Deno.readDirSync(temporary)].map(({ name }) => name);
  } finally {
    if (before === undefined) Deno.env.delete("TMPDIR");
    else Deno.env.set("TMPDIR", before);
    await Deno.remove(temporary, { recursive: true });
  }
}

Deno.test("TestDaemon that cannot start leaves no files", async () => {
  const left = await leftBy(() =>
    assertRejects(
      () => TestDaemon.start('api.group = "no-such-group-here"'),
      Error,
      "No such group",
    )
  );
  assertEquals(left, []);
});

Deno.test("TestDaemon that has ended leaves no files, also when its socket is gone", async () => {
  const left = await leftBy(async () => {
    await using daemon = await TestDaemon.start();
    assertEquals((await daemon.ask("GET", "/v1/health")).status, 200);
    await Deno.remove(`${daemon.directory}/daemon.sock`);
  });
  assertEquals(left, []);
});
