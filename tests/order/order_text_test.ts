import { assertEquals } from "@std/assert";
import { orderText, recordedText, writtenFirstText } from "../../server/command/order_text.ts";

const FIGURES = { planned: 5496, early: 5400, late: 20, unasked: 76 };

Deno.test("orderText tells how many pages came before and how many too late", () => {
  const expected = "5,400 of 5,496 ordered pages before it ran and 20 asked for all the same";
  assertEquals(orderText(FIGURES), expected);
});

Deno.test("writtenFirstText tells how many pages went first and how many too late", () => {
  const expected = "5,496 pages written lately first and 20 of them asked for all the same";
  assertEquals(writtenFirstText(FIGURES), expected);
});

Deno.test("recordedText compares what was recorded with the order before, if there was one", () => {
  const recorded = "Recorded: 1,234 pages asked for, 2,000 in vm.img.postcopy-order";
  assertEquals(recordedText(1234, 2000, "vm.img.postcopy-order", undefined), recorded);
  assertEquals(
    recordedText(1234, 2000, "vm.img.postcopy-order", {
      ...FIGURES,
      early: 0,
      late: 5000,
      unasked: 496,
    }),
    `${recorded}; of 5,496 in the order before 5,000 were touched and 496 were not`,
  );
});
