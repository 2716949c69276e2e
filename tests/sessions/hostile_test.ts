/** One destination among fifty that does what no destination does: it ends alone. */
import "../support/native.ts";
import { assertEquals, assertMatch } from "@std/assert";
import { openImage } from "../../image/open_image.ts";
import type { Socket } from "../../ffi/socket.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { type Mode, MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { HostileDestination } from "../hostile/scripted_destination.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { type Ending, Session } from "./session.ts";

const HEALTHY = 49;
const PAGES = 16;
/** Pages of the hostile destination's guest: more than its socket holds. */
const MANY = 6144;

/** What a hostile destination can do meanwhile. */
interface Scene {
  readonly destination: HostileDestination;
  readonly source: Source;
  /** How the hostile one's source ended. */
  readonly ended: Promise<Ending>;
  /** Sees that all others complete. */
  readonly others: () => Promise<void>;
}

/** What it does, and what its source says. */
interface Kind {
  readonly act: (scene: Scene) => Promise<void>;
  readonly code: string;
  readonly message: RegExp;
  /** Milliseconds; default the usual. */
  readonly stallTimeout?: number;
  readonly mode?: Mode;
}

/** Asks for the same pages again and again, until `meanwhile` has ended. */
async function flooding(
  destination: HostileDestination,
  meanwhile: () => Promise<void>,
): Promise<void> {
  let over = false;
  const flood = async () => {
    while (!over) {
      for (let page = 0; page < 256; page++) destination.say.requestPages("ram", page * 4096, 4096);
      await destination.send(destination.say.take());
      // Sending does not wait where there is room, and the event loop has other things to do.
      await new Promise((resolve) => setTimeout(resolve));
    }
  };
  const flooding = flood();
  try {
    await meanwhile();
  } finally {
    over = true;
    destination.main.shutdown(); // it may wait for room
    await within("the flood to end", flooding);
  }
}

/** Reads a channel to its end, whatever comes. */
async function drain(socket: Socket): Promise<void> {
  const buffer = new Uint8Array(1 << 17);
  while (await socket.receive(buffer).catch(() => 0) > 0);
}

const KINDS: Record<string, Kind> = {
  "asks for what is not there": {
    act: async ({ destination, ended, others }) => {
      destination.say.requestPages("ram", MANY * 4096, 4096);
      await destination.send(destination.say.take());
      await within("the source to fail", ended);
      await others();
    },
    code: "BAD_PEER",
    message: /^Destination asked for pages that are not there/,
  },
  "sends what is no message": {
    act: async ({ destination, ended, others }) => {
      await destination.send(new Uint8Array(1000).fill(0xff));
      await within("the source to fail", ended);
      await others();
    },
    code: "bad-message",
    message: /return path/,
  },
  "hangs up in the middle of a request": {
    act: async ({ destination, ended, others }) => {
      destination.say.requestPages("ram", 0, 4096);
      await destination.send(destination.say.take().subarray(0, 9));
      destination[Symbol.dispose]();
      await within("the source to fail", ended);
      await others();
    },
    code: "CONNECTION_LOST",
    message: /^Destination went away/,
  },
  "floods it with requests": {
    act: async ({ destination, source, others }) => {
      const reading = drain(destination.main);
      const requests = () => source.statistics().ram["postcopy-requests"];
      await flooding(destination, async () => {
        await until("the flood to arrive", () => requests() > MANY);
        await others();
        // It still goes on.
        assertEquals(source.status, "postcopy-active");
        const before = requests();
        await until("more of the flood", () => requests() > before);
      });
      await reading;
    },
    code: "CONNECTION_LOST",
    message: /^Destination went away/,
    mode: "vanilla",
  },
  "asks for more than it takes": {
    act: ({ destination, source, others, ended }) =>
      flooding(destination, async () => {
        await until("the flood", () => source.statistics().ram["postcopy-requests"] > 0);
        await others();
        await within("the source to give up", ended);
      }),
    code: "STALLED",
    message: /^Destination (has taken nothing on the (main|preempt) channel|.*no sign of life)/,
    stallTimeout: 2000,
  },
};

for (const [what, { act, code, message, ...how }] of Object.entries(KINDS)) {
  Deno.test(
    `Source fails alone among fifty when its destination ${what}`,
    leavingNoDescriptors(async () => {
      await using pool = new ThreadPool({ urgentThreads: 1, bulkThreads: 1, linger: 0 });
      using small = await TestImage.make({ ram: PAGES });
      using large = await TestImage.make({ ram: MANY });
      using image = await openImage(small.path);
      using largeImage = await openImage(large.path);
      const served = { file: small, image };
      await using stack = new AsyncDisposableStack();
      const sessions: Session[] = [];
      for (let index = 0; index < HEALTHY; index++) {
        const mode = MODES[index % MODES.length]!;
        const touches = [PAGES - 1];
        sessions.push(stack.use(await Session.start(served, { pool, mode, touches })));
      }
      for (const session of sessions) await session.loads();
      using destination = await HostileDestination.listen({ receiveBuffer: 4096 });
      const options = {
        to: destination.address,
        pool,
        maxPostcopyBandwidth: 1e5,
        recoverTimeout: 0,
        ...how,
      };
      await using source = new Source(largeImage, options);
      const ended = source.run().then(
        () => ({ code: "completed", message: "" }),
        ({ code, message }) => ({ code, message }),
      );
      await within("the hostile one's guest to be handed over", destination.play("pages"));
      const others = async () => {
        for (const session of sessions) await session.complete();
      };
      await act({ destination, source, ended, others });
      const ending = await within("the source to end", ended);
      assertEquals(ending.code, code, ending.message);
      assertMatch(ending.message, message);
      for (const session of sessions) assertEquals(session.source.status, "completed");
      large.assertUntouched();
    }),
  );
}
