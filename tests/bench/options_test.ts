import { assertEquals, assertThrows } from "@std/assert";
import {
  countOption,
  countsOption,
  listOption,
  placementOption,
  readOptions,
  sizeOption,
  UsageError,
} from "../../bench/support/options.ts";

Deno.test("readOptions refuses an option it does not know", () => {
  assertThrows(() => readOptions(["--sise=1M"], ["size"]), UsageError, "--sise");
});

Deno.test("sizeOption reads powers of 1024", () => {
  const sizes = ["4096", "8K", "512M", "2G"].map((size) => sizeOption({ size }, "size", 0));
  assertEquals(sizes, [4096, 8192, 512 * 2 ** 20, 2 * 2 ** 30]);
});

Deno.test("sizeOption refuses what is no multiple of a page", () => {
  for (const size of ["5000", "1T", "-4K", "0", ""]) {
    assertThrows(() => sizeOption({ size }, "size", 0), UsageError, "--size");
  }
});

Deno.test("countOption refuses zero and fractions", () => {
  for (const repeat of ["0", "1.5", "-1", "three"]) {
    assertThrows(() => countOption({ repeat }, "repeat", 3), UsageError, repeat);
  }
});

Deno.test("countsOption reads numbers separated by commas, each above zero", () => {
  assertEquals(countsOption({ sessions: "10,1" }, "sessions", [1]), [10, 1]);
  assertEquals(countsOption({}, "sessions", [1, 10]), [1, 10]);
  for (const sessions of ["", "1,,2", "1,0", "1 2"]) {
    assertThrows(() => countsOption({ sessions }, "sessions", [1]), UsageError, "--sessions");
  }
});

Deno.test("listOption names the words it knows", () => {
  assertEquals(listOption({ link: "b,a" }, "link", ["a", "b"], ["a"]), ["b", "a"]);
  assertThrows(() => listOption({ link: "c" }, "link", ["a", "b"], ["a"]), UsageError, "a, b");
});

Deno.test("placementOption keeps its default when nothing is said", () => {
  assertEquals(placementOption({}, ["one-cpu"]), ["one-cpu"]);
});
