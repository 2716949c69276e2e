/** When the second connection is made, what a destination shows by it, and how it ends. */
import "../support/native.ts";
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import type { Socket } from "../../ffi/socket.ts";
import { openImage } from "../../image/open_image.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import type { Mode } from "../../server/sending/mode.ts";
import { Source, type SourceOptions } from "../../server/source.ts";
import { HostileDestination } from "../hostile/scripted_destination.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";

/** The record that ends the preempt channel of QEMU 7.2. */
const END = [0, 0, 0, 0, 0, 0, 0, 0x10];

/** A source that serves a small image to a destination, and what it notes. */
async function served(
  options: Partial<SourceOptions>,
  act: (destination: HostileDestination, run: Promise<unknown>) => Promise<void>,
): Promise<string[]> {
  using image = await TestImage.make({ ram: 64 });
  using opened = await openImage(image.path);
  using destination = await HostileDestination.listen();
  const notes: string[] = [];
  const onNote = (text: string) => void notes.push(text);
  const to = destination.address;
  await using source = new Source(opened, { to, onNote, recoverTimeout: 0, ...options });
  const run = source.run();
  run.catch(() => {});
  await act(destination, run);
  return notes;
}

/** Reads the stream to its end, and that of the preempt channel where there is to be one, and confirms it. */
async function confirm(destination: HostileDestination, preempt?: Socket): Promise<void> {
  await within("the end of the stream", destination.play("end"));
  if (preempt !== undefined) assertEquals(await read(preempt, END.length), END);
  destination.say.shut(0);
  await destination.send(destination.say.take());
}

/** What comes on a connection, up to a number of bytes, or until it is closed. */
async function read(socket: Socket, most: number): Promise<number[]> {
  const all: number[] = [];
  const buffer = new Uint8Array(4096);
  for (let count = 1; count > 0 && all.length < most;) {
    count = await within("the end of the channel", socket.receive(buffer));
    all.push(...buffer.subarray(0, count));
  }
  return all;
}

for (const mode of ["preempt-full", "preempt"] as const) {
  Deno.test(
    `Source in mode ${mode} hands no guest to a destination that closes the preempt channel`,
    leavingNoDescriptors(async () => {
      await served({ mode }, async (destination, run) => {
        await within("the blocks", destination.play("blocks"));
        (await within("the channel", destination.acceptPreempt())).close();
        const played = assertRejects(() => destination.play("package"), Error, "before: package");
        const failed = assertRejects(() => run, MigrationError);
        const { code, message } = await within("the source to fail", failed);
        assertEquals(code, "PEER_FAILED");
        assertMatch(message, /postcopy-preempt is off there: turn it on.*did not start/);
        await played;
      });
    }),
  );
}

for (const mode of ["preempt-full", "preempt", "vanilla"] as const) {
  Deno.test(
    `Source in mode ${mode} serves a destination that says nothing before it has both channels`,
    leavingNoDescriptors(async () => {
      const notes = await served({ mode }, async (destination, run) => {
        await destination.play("connected");
        const preempt = await within("the channel", destination.acceptPreempt());
        await confirm(destination, preempt);
        await within("the source to complete", run);
        assertEquals(await read(preempt, Infinity), []);
      });
      assertNoted(notes, mode);
    }),
  );
}

Deno.test(
  "Source in mode vanilla serves a destination that loads nothing before it has both channels",
  leavingNoDescriptors(async () => {
    const notes = await served({ mode: "vanilla" }, async (destination, run) => {
      await within("the end of the opening", destination.play("proven"));
      await within("the channel", destination.acceptPreempt());
      await confirm(destination);
      await within("the source to complete", run);
    });
    assertNoted(notes, "vanilla");
  }),
);

Deno.test(
  "Source in mode vanilla goes on with a slow destination that wants no second channel",
  leavingNoDescriptors(async () => {
    const notes = await served({ mode: "vanilla" }, async (destination, run) => {
      await destination.play("connected");
      (await within("the channel", destination.acceptPreempt())).close();
      await confirm(destination);
      await within("the source to complete", run);
    });
    assertEquals(notes, []);
  }),
);

for (const mode of ["preempt-full", "preempt"] as const) {
  Deno.test(
    `Source in mode ${mode} says nothing at the end to a destination that could do without the channel`,
    leavingNoDescriptors(async () => {
      await served({ mode }, async (destination, run) => {
        await within("the blocks", destination.play("blocks"));
        const preempt = await within("the channel", destination.acceptPreempt());
        await confirm(destination);
        await within("the source to complete", run);
        assertEquals(await read(preempt, Infinity), []);
      });
    }),
  );

  Deno.test(
    `Source in mode ${mode} completes when the destination closed the preempt channel before its end`,
    leavingNoDescriptors(async () => {
      await served({ mode }, async (destination, run) => {
        await destination.play("connected");
        const preempt = await within("the channel", destination.acceptPreempt());
        await within("the end of the stream", destination.play("end"));
        preempt.close();
        await confirm(destination);
        await within("the source to complete", run);
      });
    }),
  );
}

function assertNoted(notes: readonly string[], mode: Mode): void {
  assertEquals(notes.length, mode === "vanilla" ? 1 : 0);
  if (mode === "vanilla") assertMatch(notes[0]!, /postcopy-preempt on.*use --mode preempt-full/);
}
