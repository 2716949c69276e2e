import { assertEquals } from "@std/assert";
import { ProgressLine } from "../../migration/report/progress_line.ts";

function recorded(terminal: boolean, columns = 80): { line: ProgressLine; written: string[] } {
  const written: string[] = [];
  const line = new ProgressLine((text) => written.push(text), terminal, () => columns);
  return { line, written };
}

Deno.test("ProgressLine on a terminal replaces what it showed", () => {
  const { line, written } = recorded(true);
  line.update("one");
  line.update("two");
  line.end();
  assertEquals(written, ["\rone\x1b[K", "\rtwo\x1b[K", "\n"]);
});

Deno.test("ProgressLine does not write the same text again", () => {
  const { line, written } = recorded(true);
  line.update("one");
  line.update("one");
  assertEquals(written.length, 1);
});

Deno.test("ProgressLine cuts what a terminal would wrap", () => {
  const { line, written } = recorded(true, 6);
  line.update("123456789");
  assertEquals(written, ["\r12345\x1b[K"]);
});

Deno.test("ProgressLine.clear leaves an empty line for other text", () => {
  const { line, written } = recorded(true);
  line.update("one");
  line.clear();
  line.clear();
  assertEquals(written, ["\rone\x1b[K", "\r\x1b[K"]);
});

Deno.test("ProgressLine elsewhere writes the last text alone", () => {
  const { line, written } = recorded(false, 3);
  line.update("one of two");
  line.update("two of two");
  line.end();
  line.end();
  assertEquals(written, ["two of two\n"]);
});
