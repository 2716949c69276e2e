/** Small parts of the service. */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { divideBandwidth } from "../../daemon/service/bandwidth_shares.ts";
import { Claims } from "../../daemon/service/claims.ts";
import { Idempotency } from "../../daemon/service/idempotency.ts";
import { MemoryAccount, ownMemory } from "../../daemon/service/memory_account.ts";
import { ServiceError } from "../../daemon/service/service_error.ts";
import { StateStore } from "../../daemon/service/state_store.ts";

Deno.test("divideBandwidth gives equal shares, and what one may not take to the others", () => {
  assertEquals(divideBandwidth(0, [5, 0]), [5, 0]);
  assertEquals(divideBandwidth(90, [0, 0, 0]), [30, 30, 30]);
  assertEquals(divideBandwidth(90, [0, 10, 0]), [40, 10, 40]);
  assertEquals(divideBandwidth(90, [1000]), [90]);
  assertEquals(divideBandwidth(90, []), []);
  // Never 0, which would be no limit.
  assertEquals(divideBandwidth(2, [0, 0, 0]).every((share) => share > 0), true);
});

Deno.test("Idempotency carries a request out once, also when it comes again before it is done", async () => {
  const once = new Idempotency<number>();
  let count = 0;
  const { promise: go, resolve } = Promise.withResolvers<void>();
  const carryOut = async () => {
    await go;
    return ++count;
  };
  const both = [
    once.once("k", { a: 1, b: [2] }, carryOut),
    once.once("k", { b: [2], a: 1 }, carryOut),
  ];
  resolve();
  assertEquals(await Promise.all(both), [
    { outcome: 1, replayed: false },
    { outcome: 1, replayed: true },
  ]);
  const error = await assertRejects(() => once.once("k", { a: 2 }, carryOut), ServiceError);
  assertEquals(error.code, "KEY_REUSED");
  assertEquals((await once.once(undefined, { a: 1 }, carryOut)).outcome, 2);
});

Deno.test("Idempotency tries a request again that failed", async () => {
  const once = new Idempotency<number>();
  await assertRejects(() => once.once("k", 1, () => Promise.reject(new Error("no"))));
  assertEquals(await once.once("k", 1, () => Promise.resolve(7)), { outcome: 7, replayed: false });
});

Deno.test("Claims refuses what another session has, until that has ended", async () => {
  const claims = new Claims();
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  {
    using claim = claims.take(["destination a 1", "destination b 1"], "one");
    claim.until(ended);
  }
  const error = assertThrows(
    () => claims.take(["destination c 1", "destination b 1"], "other"),
    ServiceError,
  );
  assertEquals(error.code, "BEING_SERVED");
  // A session may have twice what is its own, and gives it back once.
  claims.take(["destination b 1", "destination d 1"], "one")[Symbol.dispose]();
  assertThrows(() => claims.take(["destination b 1"], "other"), ServiceError);
  claims.take(["destination d 1"], "other")[Symbol.dispose]();
  resolve();
  await ended;
  claims.take(["destination b 1", "destination c 1"], "other")[Symbol.dispose]();
});

Deno.test("MemoryAccount admits no more than there may be, what is still to come included", () => {
  const own = ownMemory();
  assertEquals(own > 1 << 20, true);
  const account = new MemoryAccount(() => own * 2 + (64 << 20), () => own);
  account.admit(1 << 20);
  const error = assertThrows(() => account.admit(own + (1 << 30)), ServiceError);
  assertEquals(error.code, "TOO_MUCH_MEMORY");
  new MemoryAccount(() => Infinity, () => 0).admit(1e15);
});

Deno.test("StateStore keeps sessions for the next daemon, and tells of files that it cannot use", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const store = new StateStore(directory);
    await store.prepare();
    const request = { direction: "outgoing", image: "vm", to: "tcp:[::1]:1" } as const;
    const session = { id: "one", startedAt: new Date().toISOString(), request, key: "k" };
    await store.keep(session);
    await store.keep({ ...session, id: "two" });
    await store.forget("two");
    await store.forget("two");
    await Deno.writeTextFile(`${directory}/three.session.json`, "{");
    const { kept, problems } = await new StateStore(directory).read();
    assertEquals(kept, [session]);
    assertEquals(problems.length, 1);
    assertEquals(problems[0]!.includes("three.session.json"), true);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
