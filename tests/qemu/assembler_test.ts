import { assertEquals, assertThrows } from "@std/assert";
import { assemble, type Row } from "../../qemu/assembler.ts";

Deno.test("assemble measures jumps from the end of the instruction", () => {
  const rows: Row[] = [
    ["start", [0xeb, { kind: "relative8", target: "end" }], "jmp end"],
    ["", [0xe8, { kind: "relative32", target: "start" }], "call start"],
    ["end", [0xa1, { kind: "absolute32", target: "end" }], "mov eax, [end]"],
  ];
  const { bytes, labels } = assemble(rows, 0x7c00);
  assertEquals([...bytes], [0xeb, 5, 0xe8, 0xf9, 0xff, 0xff, 0xff, 0xa1, 0x07, 0x7c, 0, 0]);
  assertEquals(labels.get("end"), 7);
});

Deno.test("assemble refuses labels that are missing or too far", () => {
  const jump: Row = ["", [0xeb, { kind: "relative8", target: "far" }], "jmp far"];
  assertThrows(() => assemble([jump], 0), RangeError, "far");
  const filler: Row = ["", new Array(200).fill(0x90), "nop"];
  assertThrows(() => assemble([jump, filler, ["far", [0xc3], "ret"]], 0), RangeError, "far");
});
