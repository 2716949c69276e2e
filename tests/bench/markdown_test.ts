import { assertEquals } from "@std/assert";
import { markdownTable, microseconds } from "../../bench/support/markdown.ts";

Deno.test("markdownTable fills missing cells", () => {
  assertEquals(
    markdownTable(["a", "b"], [["1"]]),
    "| a   |   b |\n| --- | --: |\n| 1   |     |",
  );
});

Deno.test("microseconds keeps three digits and never an exponent", () => {
  const written = [740, 9_949, 9_951, 99_400, 99_500, 12_093_000].map(microseconds);
  assertEquals(written, ["0.74", "9.95", "10.0", "99.4", "100", "12093"]);
});
