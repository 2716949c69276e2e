import { assertEquals, assertThrows } from "@std/assert";
import { RestoreDecoder } from "../../../client/lazy/criu/restore_messages.ts";
import { MigrationError } from "../../../migration/migration_error.ts";

const FINISHED = 0x52535446;

function number(value: number): number[] {
  return [...new Uint8Array(new Int32Array([value]).buffer)];
}

function heard(pieces: readonly number[][]): (number | string)[] {
  const said: (number | string)[] = [];
  const decoder = new RestoreDecoder({
    restored: (pid) => said.push(pid),
    finished: () => said.push("finished"),
  });
  for (const piece of pieces) decoder.take(new Uint8Array(piece));
  return said;
}

Deno.test("RestoreDecoder understands processes and the end in whatever pieces they come", () => {
  // The second has no memory of its own, and no descriptor follows.
  const bytes = [...number(7), 0, ...number(-12), ...number(300), 0, ...number(FINISHED)];
  for (let size = 1; size <= bytes.length; size++) {
    const pieces: number[][] = [];
    for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.slice(at, at + size));
    assertEquals(heard(pieces), [7, 300, "finished"]);
  }
});

Deno.test("RestoreDecoder refuses what CRIU does not say", () => {
  for (const bytes of [[...number(7), 1], [...number(FINISHED), 0], [...number(7), 0x5b]]) {
    const error = assertThrows(() => heard([bytes]), MigrationError);
    assertEquals(error.code, "BAD_PEER");
  }
});
