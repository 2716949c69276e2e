/** Requests that no destination makes, drawn at random: nothing comes but what the image's blocks hold. */
import "../support/native.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Image } from "../../image/image.ts";
import { openImage } from "../../image/open_image.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { type Mode, MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { ScriptedHugeDestination } from "../huge/scripted_huge_destination.ts";
import { assertGoesOn } from "../live/unharmed.ts";
import { Session } from "../sessions/session.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { Random } from "../support/random.ts";
import { StatusLog } from "../support/status_log.ts";
import { TlsFront } from "../tls/tls_front.ts";
import { FAULTS, type Message, RandomRequests } from "./random_requests.ts";
import { HostileDestination } from "./scripted_destination.ts";

/** A block with a page, some that end in the middle of a word of a bitmap, and the longest name but one. */
const BLOCKS = { ram: 301, rom: 1, "0000:00:02.0/vga.vram": 33, ["x".repeat(253)]: 5 };
/** Times that the same few requests are made: more bytes than are read at once, many times over. */
const FLOOD = 1500;
/** What the source says of it. */
const CODES = /^(BAD_PEER|bad-message|bad-name)$/;
const REASONS =
  /^(Destination asked for pages that are not there: block |Malformed return path at byte \d+: expected )/;

/** A block of the live guest. */
const HIGH = { name: "high", usedLength: 12 << 20 };

interface Served {
  readonly file: TestImage;
  readonly image: Image;
  readonly content: Uint8Array;
  readonly pool: ThreadPool;
}

/** A destination's pages by name and number, those of the messages that it may say. */
function* pagesOf({ wanted = [] }: Message): Generator<string> {
  for (const { block, start, length } of wanted) {
    for (let at = start; at < start + length; at += 4096) yield `${block}:${at / 4096}`;
  }
}

/** Plays a destination that says some requests as one may, and then something else. */
async function hear(
  { image, content, pool }: Served,
  { mode, overTls, say }: { mode: Mode; overTls: boolean; say: readonly Message[] },
): Promise<void> {
  using destination = await ScriptedHugeDestination.listen(image.layout, content);
  await using stack = new AsyncDisposableStack();
  const reached = overTls
    ? stack.use(await TlsFront.start(destination.address)).source
    : { to: destination.address };
  const log = new StatusLog();
  // The background stream leaves nearly all pages to be asked for.
  const options = { ...reached, mode, pool, maxPostcopyBandwidth: 1, onStatus: log.add };
  const source = stack.use(new Source(image, options));
  const run = source.run().then(() => undefined, (error) => error);
  // It throws when a page comes that is of no block, differs from the image, or comes twice.
  const playing = destination.play(mode !== "vanilla");
  playing.catch(() => {});
  await within("the guest to run", destination.when(() => destination.running));
  const paused = log.reached("postcopy-paused").then(() => source.pauseReason!);
  for (const message of say) {
    await destination.say(message.bytes);
    if (message.wanted === undefined) continue;
    const wanted = [...new Set(pagesOf(message))];
    const all = () => {
      const { main, preempt } = destination;
      const came = new Set([...main.complete, ...preempt.complete]);
      return wanted.every((page) => came.has(page));
    };
    const refused = paused.then(({ message }) => Promise.reject(new Error(message)));
    const came = Promise.race([destination.when(all), playing, refused]);
    await within(`the pages of ${message.what}`, came);
    assert(all(), "The source hung up");
  }
  const { what } = say.at(-1)!;
  // It has handed the guest over: it is kept, and the reason is told.
  const reason = await within(`the source to refuse ${what}`, paused);
  assertMatch(String((reason as { code?: unknown }).code), CODES, `${what}: ${reason.message}`);
  assertMatch(reason.message, REASONS, what);
  assertEquals(log.items.some(({ status }) => status === "failed"), false);
  await within("the source to close", source.close());
  assertEquals((await run)?.code, "CANCELLED");
  await within("the destination's part to end", playing);
}

async function serving(act: (served: Served) => Promise<void>): Promise<void> {
  await using pool = new ThreadPool({ urgentThreads: 1, bulkThreads: 1, linger: 0 });
  using file = await TestImage.make(BLOCKS);
  using image = await openImage(file.path);
  const content = Deno.readFileSync(file.path);
  // Another migration of the same image, on the same threads, which is not over before they are.
  await using other = await Session.start({ file, image }, { pool, touches: [300] });
  await other.loads();
  await act({ file, image, content, pool });
  await other.complete();
  file.assertUntouched();
}

for (const mode of MODES) {
  for (const overTls of [false, true]) {
    Deno.test(
      `Source in mode ${mode} ${
        overTls ? "over TLS" : "in clear"
      } sends nothing but its blocks' pages, whatever is asked for, and serves others on`,
      leavingNoDescriptors(async () => {
        await serving(async (served) => {
          const random = new Random(20_261 + MODES.indexOf(mode) * 2 + Number(overTls));
          const requests = new RandomRequests(served.image.layout.blocks, random);
          // Through TLS the same bytes come in other pieces: some of them are enough.
          const faults = overTls ? FAULTS.filter(() => random.oneIn(6)) : FAULTS;
          const how = { mode, overTls };
          for (const fault of faults) {
            const before = Array.from({ length: random.below(3) }, () => requests.right());
            await hear(served, { ...how, say: [...before, requests.wrong(fault)] });
          }
          await hear(served, { ...how, say: [requests.nameless()] });
          await hear(served, { ...how, say: [requests.flood(FLOOD), requests.garbage()] });
        });
      }),
    );
  }
}

for (const fault of ["behind the end", "a negative offset"] as const) {
  Deno.test(
    `LiveSource whose guest still runs ends a migration in which it is asked for ${fault}, and the guest goes on`,
    leavingNoDescriptors(async () => {
      using destination = await HostileDestination.listen();
      await assertGoesOn({
        to: destination.address,
        maxBandwidth: 1 << 17, // not over before it is asked
        act: async () => {
          await within("the blocks to be announced", destination.play("blocks"));
          const requests = new RandomRequests([HIGH], new Random(7));
          await destination.send(requests.wrong(fault).bytes);
        },
        calls: [],
        code: fault === "behind the end" ? "BAD_PEER" : "bad-message",
        message: REASONS,
      });
    }),
  );
}
