import { assertEquals } from "@std/assert";
import { nearest } from "../../migration/command/nearest.ts";

const COMMANDS = ["serve", "receive", "inspect", "workload", "workload-image"];

const CASES: readonly (readonly [string, string | undefined])[] = [
  ["sevre", "serve"], // two letters swapped are one slip
  ["recieve", "receive"],
  ["inspekt", "inspect"],
  ["workloads", "workload"],
  ["workload_image", "workload-image"],
  ["work", "workload"], // half a word
  ["s", undefined], // too little to say anything
  ["move", undefined],
  ["", undefined],
];

for (const [word, meant] of CASES) {
  Deno.test(`nearest takes "${word}" for ${meant}`, () => {
    assertEquals(nearest(word, COMMANDS), meant);
  });
}
