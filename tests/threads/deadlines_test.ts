import { assertEquals } from "@std/assert";
import { Deadlines, type Due } from "../../migration/threads/deadlines.ts";
import { Random } from "../support/random.ts";

class Entry implements Due {
  time = Infinity;
  place = -1;
  constructor(readonly name: number) {}
}

Deno.test("Deadlines gives the earliest first, whatever was set, set again and taken out", () => {
  const random = new Random(4);
  for (let round = 0; round < 50; round++) {
    const queue = new Deadlines<Entry>();
    const entries = Array.from({ length: 1 + random.below(40) }, (_, name) => new Entry(name));
    for (let change = 0; change < 200; change++) {
      const entry = random.pick(entries);
      const time = random.oneIn(4) ? Infinity : random.below(1000);
      queue.set(entry, time);
      assertEquals(queue.next, Math.min(...entries.map(({ time }) => time)));
    }
    const due = entries.filter(({ time }) => time <= 500).map(({ time }) => time);
    const taken: number[] = [];
    while (queue.next <= 500) {
      taken.push(queue.next);
      const entry = queue.take(500)!;
      assertEquals([entry.time, entry.place], [Infinity, -1]);
    }
    assertEquals(taken, due.sort((a, b) => a - b));
    assertEquals(queue.take(500), undefined);
  }
});
