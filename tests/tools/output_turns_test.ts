import { assertEquals } from "@std/assert";
import { type Output, OutputTurns } from "../../tools/output_turns.ts";

/** Outputs, and what is shown of them. */
function outputs(count: number): { shown: () => string; outputs: readonly Output[] } {
  let shown = "";
  const turns = new OutputTurns(async (chunk) => {
    await Promise.resolve(); // as a write that takes a while
    shown += new TextDecoder().decode(chunk);
  });
  return { shown: () => shown, outputs: Array.from({ length: count }, () => turns.begin()) };
}

const say = (output: Output, text: string): Promise<void> =>
  output.print(new TextEncoder().encode(text));

Deno.test("OutputTurns shows the first output as it comes, and another once that has ended", async () => {
  const { shown, outputs: [one, other] } = outputs(2);
  await say(one!, "a ... ");
  await say(other!, "x ... ");
  await say(one!, "ok\n");
  assertEquals(shown(), "a ... ok\n");
  await one!.end();
  assertEquals(shown(), "a ... ok\nx ... ");
  await say(other!, "ok\n");
  assertEquals(shown(), "a ... ok\nx ... ok\n");
});

Deno.test("OutputTurns shows what has ended before what goes on", async () => {
  const { shown, outputs: [one, running, ended] } = outputs(3);
  await say(running!, "r");
  await say(ended!, "e");
  await ended!.end();
  await say(one!, "a");
  assertEquals(shown(), "a");
  await one!.end();
  assertEquals(shown(), "aer");
});

Deno.test("OutputTurns loses nothing that is printed while it writes", async () => {
  const { shown, outputs: [one, other] } = outputs(2);
  const all = [say(one!, "a"), say(other!, "x"), one!.end(), say(other!, "y"), say(other!, "z")];
  await Promise.all([...all, other!.end()]);
  assertEquals(shown(), "axyz");
});

Deno.test("OutputTurns shows an output that begins when all others have ended", async () => {
  let shown = "";
  const turns = new OutputTurns((chunk) => {
    shown += new TextDecoder().decode(chunk);
    return Promise.resolve();
  });
  for (const text of ["a", "b"]) {
    const output = turns.begin();
    await say(output, text);
    await output.end();
  }
  assertEquals(shown, "ab");
});
