import { assertEquals } from "@std/assert";
import { formatTable } from "../../migration/report/table.ts";

Deno.test("formatTable aligns the first column left and the others right", () => {
  assertEquals(formatTable([["a", "1", "22"], ["bbb", "333", "4"]]), [
    "a      1  22",
    "bbb  333   4",
  ]);
});

Deno.test("formatTable draws a rule below the header", () => {
  assertEquals(formatTable([["x", "1"]], { header: ["mode", "us"], indent: " " }), [
    " mode  us",
    " ────  ──",
    " x      1",
  ]);
});

Deno.test("formatTable takes rows of different lengths, and leaves no blanks at the end", () => {
  assertEquals(formatTable([["a", "1", "long"], ["b"]], { align: ["left", "left", "left"] }), [
    "a  1  long",
    "b",
  ]);
});

Deno.test("formatTable measures characters, not UTF-16 units", () => {
  assertEquals(formatTable([["𝄞", "1"], ["ab", "2"]]), ["𝄞   1", "ab  2"]);
});

Deno.test("formatTable of nothing is no line", () => {
  assertEquals(formatTable([]), []);
});
