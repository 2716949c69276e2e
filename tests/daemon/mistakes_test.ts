import { assertEquals } from "@std/assert";
import { survivingMistakes } from "../../daemon/life/mistakes.ts";
import { until } from "../support/deadline.ts";

Deno.test("survivingMistakes tells what nobody caught, and the process goes on", async () => {
  const told: unknown[] = [];
  using _surviving = survivingMistakes((error) => told.push(error));
  const [rejected, thrown] = [new Error("rejected"), new Error("thrown")];
  Promise.reject(rejected);
  setTimeout(() => {
    throw thrown;
  });
  await until("both to be told", () => told.length === 2);
  assertEquals(new Set(told), new Set([rejected, thrown]));
});
