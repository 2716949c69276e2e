import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { Pace } from "../../workload/pace.ts";

/** A clock that moves when told to, and a sleep that takes longer than asked for. */
class SlowClock {
  now = 1e15;
  sleeps = 0;
  readonly #late: number;

  constructor(late: number) {
    this.#late = late;
  }

  pace(rate: number): Pace {
    return new Pace(rate, () => this.now, (milliseconds) => {
      this.sleeps++;
      this.now += milliseconds * 1e6 + this.#late;
    });
  }
}

Deno.test("Pace makes up for sleeps that take too long", () => {
  const clock = new SlowClock(300_000);
  const pace = clock.pace(20_000);
  const begin = clock.now;
  for (let access = 0; access < 100_001; access++) {
    pace.wait();
    clock.now += 500;
  }
  assertAlmostEquals((clock.now - begin) / 1e9, 5, 0.002);
});

Deno.test("Pace sleeps once a millisecond", () => {
  const clock = new SlowClock(0);
  const pace = clock.pace(20_000);
  for (let access = 0; access < 20_001; access++) pace.wait();
  assertEquals(clock.sleeps, 1000);
});

Deno.test("Pace waits at each access when they are further apart", () => {
  const clock = new SlowClock(0);
  const pace = clock.pace(10);
  const times: number[] = [];
  for (let access = 0; access < 4; access++) {
    pace.wait();
    times.push((clock.now - 1e15) / 1e6);
  }
  assertEquals(times.map(Math.round), [0, 100, 200, 300]);
});

Deno.test("Pace does not make up for the time that a page took", () => {
  const clock = new SlowClock(0);
  const pace = clock.pace(1000);
  const begin = clock.now;
  for (let access = 0; access < 101; access++) {
    pace.wait();
    if (access === 50) clock.now += 40e6; // 39 of them beyond the slice
  }
  assertAlmostEquals((clock.now - begin) / 1e6, 139, 0.01);
});

Deno.test("Pace makes up for a tenth of a second and no more", () => {
  const clock = new SlowClock(0);
  const pace = clock.pace(1000);
  let slept = false;
  const late = new Pace(1000, () => clock.now, (milliseconds) => {
    clock.now += slept ? milliseconds * 1e6 : 500e6;
    slept = true;
  });
  pace.wait();
  late.wait();
  const begin = clock.now;
  for (let access = 0; access < 700; access++) late.wait();
  const took = (clock.now - begin) / 1e6;
  assert(took > 1090 && took < 1110, `${took} ms`);
});
