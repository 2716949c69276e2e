/** What a session leaves to the next daemon, and what it says when that cannot be. */
import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { EventLog } from "../../daemon/service/event_log.ts";
import type { OutgoingRequest } from "../../daemon/service/requests.ts";
import { SessionKeeper } from "../../daemon/service/session_keeper.ts";
import { SessionRecord } from "../../daemon/service/session_record.ts";
import { statisticsBefore } from "../../daemon/service/statistics_before.ts";
import { StateStore } from "../../daemon/service/state_store.ts";

const original: OutgoingRequest = { direction: "outgoing", image: "vm", to: "tcp:[::1]:4444" };

/** A keeper at a directory, and the notes of its session. */
function keeperAt(directory: string, key?: string) {
  const init = { id: "ab12", direction: "outgoing", startedAt: "2026", image: "vm" } as const;
  const record = new SessionRecord({ ...init, events: new EventLog() }, original.to);
  const store = new StateStore(directory);
  const keeper = new SessionKeeper({ record, original, key, store });
  return { keeper, store, notes: () => record.view(statisticsBefore("setup")).notes };
}

Deno.test("SessionKeeper keeps what was said last, and forgets it", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const { keeper, store, notes } = keeperAt(directory, "restore-vm");
    await keeper.forget();
    await keeper.keep({}, "a command");
    await keeper.keep({ to: "tcp:[::1]:4445" }, "a command");
    const named = { id: "ab12", startedAt: "2026", key: "restore-vm" };
    assertEquals(await store.read(), {
      kept: [{ ...named, request: original, to: "tcp:[::1]:4445" }],
      problems: [],
    });
    await keeper.forget();
    assertEquals((await store.read()).kept, []);
    assertEquals(notes(), []);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("SessionKeeper notes what cannot be kept or removed, with what goes on instead", async () => {
  const file = await Deno.makeTempFile(); // in place of a directory
  try {
    const { keeper, notes } = keeperAt(file);
    await keeper.keep({}, "postcopy migrate vm --recover");
    await keeper.forget();
    const [kept = "", removed = ""] = notes();
    assert(/^State of this session cannot be kept: Not a directory/.test(kept), kept);
    const how = "should the daemon be killed, go on with it by postcopy migrate vm --recover";
    assert(kept.endsWith(`: ${how}`), kept);
    assert(/^State of this session cannot be removed: Not a/.test(removed), removed);
  } finally {
    await Deno.remove(file);
  }
});
