import "../support/native.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { MainRounds } from "../../client/multifd/main_rounds.ts";
import { MAIN, Rounds } from "../../client/multifd/rounds.ts";
import { Eventfd } from "../../ffi/eventfd.ts";
import { waitReady } from "../../ffi/wait_ready.ts";
import { PollEvents } from "../../ffi/poll.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { Random } from "../support/random.ts";

const PAGES = 12;

/** What a participant receives: pages by number with their content, and marks. */
type Script = readonly (readonly [page: number, content: number] | "mark")[];

/** Rounds of a random source: within one, no page comes twice; every participant has every mark. */
function randomScripts(random: Random, participants: number): Script[] {
  const scripts = Array.from({ length: participants }, () => [] as Script[number][]);
  let content = 0;
  for (let rounds = random.between(1, 6); rounds > 0; rounds--) {
    for (let page = 0; page < PAGES; page++) {
      if (random.oneIn(2)) random.pick(scripts).push([page, ++content]);
    }
    for (const script of scripts) script.push("mark");
  }
  return scripts;
}

/** Whole rounds, one after the other: the memory that must come of it. */
function bruteForce(scripts: readonly Script[]): number[] {
  const memory = new Array<number>(PAGES).fill(0);
  const left = scripts.map((script) => [...script]);
  while (left.some((script) => script.length > 0)) {
    for (const script of left) {
      for (
        let next = script.shift();
        next !== undefined && next !== "mark";
        next = script.shift()
      ) {
        memory[next[0]] = next[1];
      }
    }
  }
  return memory;
}

/** Lets participants take what comes in a random order, each as far as it may. */
function interleave(random: Random, scripts: readonly Script[], held: boolean): number[] {
  const memory = new Array<number>(PAGES).fill(0);
  const shared = new Rounds(scripts.length - 1).buffer;
  const rounds = scripts.map(() => new Rounds(scripts.length - 1, shared));
  const at = scripts.map(() => 0);
  for (let idle = 0; at.some((index, who) => index < scripts[who]!.length);) {
    const who = random.below(scripts.length);
    const next = scripts[who]![at[who]!];
    if (next === undefined || (held && !rounds[who]!.mayGoOn(who))) {
      assert(++idle < 100_000, "nobody may go on");
      continue;
    }
    idle = 0;
    at[who]!++;
    if (next === "mark") rounds[who]!.reach(who);
    else memory[next[0]] = next[1];
  }
  return memory;
}

Deno.test("Rounds give the memory of whole rounds, however the channels are interleaved", () => {
  let overtaken = 0;
  for (let seed = 1; seed <= 400; seed++) {
    const random = new Random(seed);
    const scripts = randomScripts(random, random.between(2, 6));
    const wanted = bruteForce(scripts);
    assertEquals(interleave(random, scripts, true), wanted, `seed ${seed}`);
    // The same without a wait, to see that this can be false.
    if (interleave(random, scripts, false).some((page, index) => page !== wanted[index])) {
      overtaken++;
    }
  }
  assert(overtaken > 100, `${overtaken}`);
});

Deno.test("Rounds wake all when the last one comes to a mark, and nobody before", async () => {
  const rounds = new Rounds(2);
  using stack = new DisposableStack();
  const events = [0, 1, 2].map(() => stack.use(new Eventfd()));
  events.forEach(({ fd }, participant) => rounds.join(participant, fd));
  const signalled = (index: number) =>
    waitReady(events[index]!.fd, PollEvents.IN, "a wake", { timeout: 0 }).then(
      () => true,
      () => false,
    );
  rounds.reach(1);
  rounds.reach(MAIN);
  assertEquals([await signalled(0), await signalled(1), await signalled(2)], [false, false, false]);
  assertEquals([rounds.mayGoOn(MAIN), rounds.mayGoOn(2)], [false, true]);
  rounds.reach(2);
  await Promise.all(
    events.map(({ fd }) => waitReady(fd, PollEvents.IN, "a wake", { timeout: 60_000 })),
  );
  assert([0, 1, 2].every((participant) => rounds.mayGoOn(participant)));
});

Deno.test("Rounds tell of a channel that has ended before a mark that others wait at", () => {
  const rounds = new Rounds(2);
  for (const participant of [MAIN, 1, 2]) rounds.reach(participant);
  rounds.end(2);
  assertEquals(rounds.missing(MAIN), 0);
  rounds.reach(MAIN);
  assertEquals([rounds.missing(MAIN), rounds.mayGoOn(MAIN)], [2, false]);
});

Deno.test("Rounds tell of a channel that is ahead of another, and of none that only waits with it", () => {
  const rounds = new Rounds(2);
  for (const participant of [MAIN, 1, 2]) rounds.reach(participant);
  assertEquals(rounds.ahead(MAIN), 0);
  rounds.reach(2);
  assertEquals([rounds.ahead(MAIN), rounds.ahead(2)], [2, 0]);
  rounds.reach(MAIN);
  assertEquals(rounds.ahead(MAIN), 0);
});

Deno.test("MainRounds.requireEnd refuses channels with a mark more than the main one, whose pages would be lost", () => {
  const rounds = new Rounds(2);
  const main = new MainRounds(rounds);
  for (let round = 0; round < 3; round++) {
    main.reach();
    for (const channel of [1, 2]) rounds.reach(channel);
    main.requireEnd();
  }
  rounds.reach(2);
  assertThrows(() => main.requireEnd(), MigrationError, "more rounds on its multifd channels");
});

Deno.test("Rounds add up the bytes of all channels, each written by its own", () => {
  const rounds = new Rounds(3);
  for (const participant of [1, 2, 3]) {
    new Rounds(3, rounds.buffer).count(participant, 2 ** 33 + participant);
  }
  assertEquals(rounds.bytes, 3 * 2 ** 33 + 6);
});
