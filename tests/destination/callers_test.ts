import { assertEquals } from "@std/assert";
import {
  type CallerFacts,
  callerLimit,
  leastLikely,
  mayNotBeSilent,
} from "../../client/connecting/callers.ts";
import { Random } from "../support/random.ts";

const from = (peer: string, ...orders: number[]): CallerFacts[] =>
  orders.map((order) => ({ peer, order }));
const inOrder = (callers: CallerFacts[]) => callers.sort((one, other) => one.order - other.order);

Deno.test("leastLikely takes the oldest of the host with the most while no main channel is known", () => {
  const callers = inOrder([...from("a", 0, 5), ...from("b", 1, 2, 3), ...from("c", 4)]);
  assertEquals(callers[leastLikely(callers)], { peer: "b", order: 1 });
  assertEquals(leastLikely(from("a", 7)), 0);
});

Deno.test("leastLikely takes other hosts than the main channel's first, then the farthest in order", () => {
  const main = { peer: "a", order: 10 };
  const callers = inOrder([...from("a", 2, 9, 11, 30), ...from("b", 12)]);
  const left: number[] = [];
  while (callers.length > 0) left.push(callers.splice(leastLikely(callers, main), 1)[0]!.order);
  assertEquals(left.slice(0, 3), [12, 30, 2]);
});

Deno.test("leastLikely keeps the source's other connection in any flood from other hosts", () => {
  const random = new Random(1);
  for (let round = 0; round < 200; round++) {
    const preempt = { peer: "source", order: random.below(300) };
    const main = { peer: "source", order: 300 };
    const callers = inOrder([
      preempt,
      ...Array.from({ length: 100 }, (_, index) => ({
        peer: `stranger ${random.below(3)}`,
        order: 400 + index,
      })),
    ]);
    while (callers.length > 1) callers.splice(leastLikely(callers, main), 1);
    assertEquals(callers, [preempt]);
  }
});

Deno.test("mayNotBeSilent spares whoever may be the preempt channel, wherever it comes from", () => {
  const main = { peer: "a", order: 0 };
  const [own] = from("a", 1);
  const [other] = from("b", 2);
  assertEquals(mayNotBeSilent(own!, [own!, other!], undefined), true);
  assertEquals(mayNotBeSilent(own!, [own!, other!], main), false);
  assertEquals(mayNotBeSilent(other!, [own!, other!], main), true);
  // Behind an address translation the second connection may come from another address.
  assertEquals(mayNotBeSilent(other!, [other!], main), false);
});

Deno.test("callerLimit leaves most of the descriptors of a process to other uses", () => {
  assertEquals([20, 256, 1024, 4096, Infinity].map(callerLimit), [16, 32, 128, 256, 256]);
});
