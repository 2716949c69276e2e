import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { PresentWindows } from "../../client/lazy/present_windows.ts";

const WINDOW = 256 * 1024;
const PAGE = 4096;

Deno.test("PresentWindows asks for a window at its second page, and then no more", () => {
  const asked: [number, number][] = [];
  const windows = new PresentWindows(2 * WINDOW + PAGE, (offset, length) => {
    asked.push([offset, length]);
    return true;
  });
  assertEquals([0, PAGE, 2 * PAGE, WINDOW - PAGE].map((at) => windows.has(at)), [
    ...[false, true, true, true],
  ]);
  assertEquals([2 * WINDOW, 2 * WINDOW].map((at) => windows.has(at)), [false, true]);
  // The last window ends with the memory.
  assertEquals(asked, [[0, WINDOW], [2 * WINDOW, PAGE]]);
});

Deno.test("PresentWindows does not take a window for another that it forgot for it", () => {
  const asked: number[] = [];
  const windows = new PresentWindows(8192 * WINDOW, (offset) => {
    asked.push(offset);
    return true;
  });
  const other = 4096 * WINDOW; // in the same place
  assertEquals([0, 0, other, 0, other, other].map((at) => windows.has(at)), [
    ...[false, true, false, false, false, true],
  ]);
  assertEquals(asked, [0, other]);
});

Deno.test("PresentWindows leaves each page of a window that is not at hand to be asked for", () => {
  let asked = 0;
  const windows = new PresentWindows(WINDOW, () => {
    asked++;
    return false;
  });
  for (let page = 0; page < 64; page++) assertEquals(windows.has(page * PAGE), false);
  assert(asked > 0);
});
