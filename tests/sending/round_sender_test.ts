/** A round that is told to stop while it waits for its pages says nothing of them. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import type { SteppedSender } from "../../channel/stepped_sender.ts";
import type { Gather } from "../../ffi/gather.ts";
import { openImage } from "../../image/open_image.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { Steps } from "../../migration/threads/task.ts";
import { PageLocator } from "../../pages/page_locator.ts";
import { PageRecords } from "../../server/sending/page_records.ts";
import type { PageSaver } from "../../server/sending/page_saver.ts";
import { RoundSender } from "../../server/sending/round_sender.ts";
import { SourceState } from "../../server/sending/source_state.ts";
import { Turns } from "../../server/sending/turns.ts";
import { HandPoll } from "../support/hand_poll.ts";
import { TestImage } from "../support/images.ts";

/** A round with two pages, of which one comes at once and the other when threads have it; not once it is to stop. */
async function waiting(
  run: (round: RoundSender, state: SourceState, sent: () => number, come: () => void) => void,
): Promise<void> {
  using saved = await TestImage.make({ ram: 4 });
  using image = await openImage(saved.path);
  const { layout } = image;
  const state = new SourceState();
  using records = new PageRecords(layout, new PageLocator(image.pages), 8);
  let came = false;
  let sections = 0;
  const saver: PageSaver = {
    get outstanding() {
      return came ? 0 : 1;
    },
    wakeFd: -1,
    prepare: () => "save",
    save: (page) => records.add(page),
    settle() {
      if (records.length === 0) records.add(1);
      if (came && records.length === 1) records.add(0);
      return came || state.stopped; // as all savers do: nobody waits for threads that are to end
    },
    sent: () => {},
  };
  const main = {
    *send(_gather: Gather): Steps<boolean> {
      yield; // for room
      sections++;
      return true;
    },
  } as Pick<SteppedSender, "send"> as SteppedSender;
  const stopped = () => state.stopped;
  const round = new RoundSender({
    ...{ sectionId: 2, state, records, saver, main, count: () => {} },
    dirty: new PageBitmap(layout.pageLimit), // no page is left but these
    pages: { atHand: () => true, take: () => {} },
    turns: new Turns(new HandPoll(), { events: [], stopped, stallTimeout: 1000 }),
  });
  round.begin();
  run(round, state, () => sections, () => {
    came = true;
  });
}

/** What can be told to stop, and what it returns then. */
const WAITS = [
  ["finish", (round: RoundSender) => round.finish(), false],
  ["settle", (round: RoundSender) => round.settle(), false],
  ["send", (round: RoundSender) => round.send(Infinity), "stop"],
] as const;

for (const [name, begin, end] of WAITS) {
  Deno.test(`RoundSender.${name} that is told to stop while it waits sends nothing`, () =>
    waiting((round, state, sent) => {
      const steps = begin(round);
      assertEquals(steps.next(), { done: false, value: undefined });
      state.stop();
      assertEquals(steps.next(), { done: true, value: end });
      assertEquals(sent(), 0);
    }));
}

Deno.test("RoundSender.finish sends the end of the memory once its pages have come", () =>
  waiting((round, _state, sent, come) => {
    const steps = round.finish();
    assertEquals(steps.next(), { done: false, value: undefined });
    come();
    assertEquals(steps.next().done, false); // room is waited for
    assertEquals(steps.next(), { done: true, value: true });
    assertEquals(sent(), 1);
  }));
