import { assertEquals } from "@std/assert";
import { ForkDoubts } from "../../../client/lazy/criu/fork_doubts.ts";

const PAGE = 4096;

Deno.test("ForkDoubts moves for a child what was moved before its fork and told behind it, and nothing else", () => {
  const parent = new ForkDoubts();
  const child = new ForkDoubts();
  parent.moved(1 * PAGE, 2 * PAGE, PAGE); // told before: the child's map has it
  parent.forked(child);
  parent.moved(10 * PAGE, 20 * PAGE, 3 * PAGE);
  parent.moved(30 * PAGE, 40 * PAGE, PAGE);
  assertEquals([child.known, child.settled, parent.settled], [false, false, false]);
  parent.release();
  assertEquals([child.known, child.settled, parent.settled], [true, false, true]);
  parent.moved(50 * PAGE, 60 * PAGE, PAGE); // behind the fork for sure
  const asked: [number, number][] = [];
  const moved: number[][] = [];
  const settled = child.settle(
    (address, pages) => {
      asked.push([address / PAGE, pages]);
      return address === 20 * PAGE;
    },
    (from, to, length) => moved.push([from / PAGE, to / PAGE, length / PAGE]),
  );
  assertEquals([settled, child.settled], [true, true]);
  assertEquals(asked, [[20, 3], [40, 1]]);
  assertEquals(moved, [[10, 20, 3]]);
});

Deno.test("ForkDoubts goes on where the kernel could not say whether the child has it", () => {
  const parent = new ForkDoubts();
  const child = new ForkDoubts();
  parent.forked(child);
  parent.moved(0, 8 * PAGE, PAGE);
  parent.moved(PAGE, 9 * PAGE, PAGE);
  parent.release();
  const moved: number[] = [];
  const move = (from: number) => void moved.push(from / PAGE);
  const sayOne = (address: number) => address === 8 * PAGE ? true : undefined;
  assertEquals(child.settle(sayOne, move), false);
  assertEquals(child.settle(() => true, move), true);
  assertEquals(moved, [0, 1]);
});
