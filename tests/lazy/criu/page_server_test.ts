import "../../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import type { HeaderBytes, PageServer } from "../../../client/lazy/criu/criu_task.ts";
import { PageServerLink, type PageTaker } from "../../../client/lazy/criu/page_server_link.ts";
import { PageHeader } from "../../../client/lazy/criu/page_server_words.ts";
import { viewMemory } from "../../../ffi/memory.ts";
import { Socket } from "../../../ffi/socket.ts";
import { until } from "../../support/deadline.ts";
import { leavingNoDescriptors } from "../../support/descriptors.ts";

const PAGE = 4096;
const GET = 7;
const PRESENT_ADD = 0x0004_0006;
const CLOSE = 0x1023;
const PID = 321;

/** A page server whose answers a test gives, and the link to it. */
class Served implements AsyncDisposable {
  readonly link: PageServerLink;
  readonly #peer: Deno.TcpConn;
  readonly #socket: Socket;
  readonly #headerBytes: HeaderBytes;

  private constructor(
    peer: Deno.TcpConn,
    socket: Socket,
    headerBytes: HeaderBytes,
    more: Partial<PageServer>,
  ) {
    this.#peer = peer;
    this.#socket = socket;
    this.#headerBytes = headerBytes;
    const connection = { fd: socket.fd };
    this.link = new PageServerLink({ connection, name: "tcp:there:1", headerBytes, ...more });
  }

  /** @param early what is sent before the link is made */
  static async start(
    headerBytes: HeaderBytes,
    more: Partial<PageServer> = {},
    early?: Uint8Array,
  ): Promise<Served> {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr;
    const connecting = Socket.connect({ transport: "tcp", host: "127.0.0.1", port });
    const peer = await listener.accept();
    for (let at = 0; at < (early?.length ?? 0);) at += await peer.write(early!.subarray(at));
    return new Served(peer, await connecting, headerBytes, more);
  }

  /** The next request: command, pages, address, id. */
  async request(): Promise<number[]> {
    const bytes = new Uint8Array(this.#headerBytes);
    for (let at = 0; at < bytes.length;) {
      at += await this.#peer.read(bytes.subarray(at)) ?? bytes.length;
    }
    // Read without the code that is tested.
    const view = new DataView(bytes.buffer);
    const wide = this.#headerBytes === 32;
    return [
      view.getUint32(0, true),
      wide ? Number(view.getBigUint64(8, true)) : view.getUint32(4, true),
      Number(view.getBigUint64(wide ? 16 : 8, true)),
      Number(view.getBigUint64(wide ? 24 : 16, true)),
    ];
  }

  /** Answers; the pages have these words. */
  async answer(address: number, words: readonly number[], id = PID): Promise<void> {
    const header = new PageHeader(this.#headerBytes);
    header.make(PRESENT_ADD, words.length, address, id);
    const pages = words.map((word) => new Uint8Array(new Int32Array(PAGE / 4).fill(word).buffer));
    for (const bytes of [header.bytes, ...pages]) await this.say(bytes);
  }

  async say(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#peer.write(bytes.subarray(at));
  }

  hangUp(): void {
    this.#peer.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.link[Symbol.dispose]();
    this.#socket.close();
    try {
      this.#peer.close();
    } catch {
      // It hung up.
    }
    return Promise.resolve();
  }
}

/** Who takes pages, and notes what came; as many at a time as it is told. */
class Taker implements PageTaker {
  readonly imageId = PID;
  readonly taken: [page: number, word: number, urgent: boolean][] = [];
  readonly missed: [page: number, count: number][] = [];
  room = Infinity;

  take(page: number, count: number, from: number, urgent: boolean): number {
    const done = Math.min(count, this.room);
    this.room -= done;
    for (let index = 0; index < done; index++) {
      const view = viewMemory(from + index * PAGE, PAGE);
      const word = new DataView(view.buffer, view.byteOffset).getInt32(PAGE - 4, true);
      this.taken.push([page + index, word, urgent]);
    }
    return done;
  }

  miss(page: number, count: number): void {
    this.missed.push([page, count]);
  }
}

for (const headerBytes of [24, 32] as const) {
  Deno.test(
    `PageServerLink has many requests on the way, and takes answers in their order, headers of ${headerBytes} bytes`,
    leavingNoDescriptors(async () => {
      await using served = await Served.start(headerBytes);
      const taker = new Taker();
      served.link.ask(taker, 10, 0x7f00_0000_a000, 3, false);
      served.link.ask(taker, 90, 0x7f00_0005_a000, 1, true);
      assertEquals(served.link.pagesOnWay, 4);
      // Both come before anything is answered.
      assertEquals(await served.request(), [GET, 3, 0x7f00_0000_a000, PID]);
      assertEquals(await served.request(), [GET, 1, 0x7f00_0005_a000, PID]);
      await served.answer(0x7f00_0000_a000, [1, 2, 3]);
      await served.answer(0x7f00_0005_a000, [4]);
      await until("all came", () => {
        served.link.step();
        return served.link.pagesOnWay === 0;
      });
      assertEquals(taker.taken, [[10, 1, false], [11, 2, false], [12, 3, false], [90, 4, true]]);
      served.link.close();
      assertEquals((await served.request())[0], CLOSE);
      assert(!served.link.closed);
      await served.say(new Uint8Array(4));
      await until("it hears that the other end has understood", () => {
        served.link.step();
        return served.link.closed;
      });
      assertEquals(served.link.lost, undefined);
    }),
  );
}

Deno.test(
  "PageServerLink keeps a page that cannot be placed now, and gives it again",
  leavingNoDescriptors(async () => {
    await using served = await Served.start(24);
    const taker = new Taker();
    taker.room = 2;
    served.link.ask(taker, 0, PAGE, 4, false);
    served.link.ask(taker, 50, 50 * PAGE, 1, true);
    await served.answer(PAGE, [1, 2, 3, 4]);
    await served.answer(50 * PAGE, [5]);
    await until("two came", () => {
      served.link.step();
      return taker.taken.length === 2 && served.link.blocked;
    });
    for (let again = 0; again < 3; again++) served.link.step();
    assertEquals(taker.taken.length, 2);
    taker.room = Infinity;
    await until("all came", () => {
      served.link.step();
      return served.link.pagesOnWay === 0;
    });
    assertEquals(taker.taken.map(([page, word]) => [page, word]), [
      ...[[0, 1], [1, 2], [2, 3], [3, 4], [50, 5]],
    ]);
    assertEquals(served.link.blocked, false);
  }),
);

Deno.test(
  "PageServerLink is not lost while more has come than it has room for, and nothing can be placed",
  leavingNoDescriptors(async () => {
    await using served = await Served.start(24);
    const taker = new Taker();
    taker.room = 0;
    const words = Array.from({ length: 64 }, (_, index) => index);
    const answers: Promise<void>[] = [];
    for (let request = 0; request < 16; request++) {
      const address = (1 + request) * 64 * PAGE;
      served.link.ask(taker, request * 64, address, 64, false);
      answers.push(served.answer(address, words));
      // Its room, 1 MiB, is full behind the fourth.
      for (let step = 0; step < 20; step++) {
        served.link.step();
        await new Promise((resolve) => setTimeout(resolve, 0));
      }
    }
    assertEquals(served.link.lost, undefined);
    taker.room = Infinity;
    await until("all came", () => {
      served.link.step();
      return served.link.pagesOnWay === 0;
    });
    await Promise.all(answers);
    assertEquals(taker.taken.map(([page, word]) => [page, word]), [
      ...Array.from({ length: 1024 }, (_, page) => [page, page % 64]),
    ]);
  }),
);

Deno.test(
  "PageServerLink says which pages did not come with an answer that has fewer",
  leavingNoDescriptors(async () => {
    await using served = await Served.start(24);
    const taker = new Taker();
    served.link.ask(taker, 7, PAGE, 10, false);
    await served.answer(PAGE, [1, 2, 3]);
    await until("what there is came", () => {
      served.link.step();
      return served.link.pagesOnWay === 0;
    });
    assertEquals([taker.taken.length, taker.missed], [3, [[10, 7]]]);
  }),
);

Deno.test(
  "PageServerLink is lost with an answer to nothing, one of another version, or a connection that ends",
  leavingNoDescriptors(async () => {
    const cases: [what: RegExp, act: (served: Served) => Promise<void> | void][] = [
      [
        /answers what was not asked: 1 pages at 0x2000.*not 4 at 0x1000 of 321/,
        (served) => served.answer(2 * PAGE, [1]),
      ],
      [/of 1, not 4.*say --criu-version 4.2 next time/, (served) => served.answer(PAGE, [1], 1)],
      [/answers what was not asked/, (served) => served.answer(PAGE, [1, 2, 3, 4, 5])],
      [/answers what was not asked/, (served) => served.answer(PAGE, [])],
      [
        /it closed the connection: if its CRIU is 4.2 or newer, say --criu-version 4.2/,
        (served) => served.hangUp(),
      ],
    ];
    for (const [what, act] of cases) {
      await using served = await Served.start(24);
      const taker = new Taker();
      served.link.ask(taker, 5, PAGE, 4, false);
      await act(served);
      await until("the loss is noticed", () => {
        served.link.step();
        return served.link.lost !== undefined;
      });
      assert(what.test(served.link.lost!.message), served.link.lost!.message);
      assertEquals([taker.taken, taker.missed], [[], [[5, 4]]]);
      served.link.ask(taker, 1, PAGE, 1, true);
      assertEquals(taker.missed.at(-1), [1, 1]);
    }
  }),
);

for (const early of [0, 1, 5000, 3 * 1024 * 1024 + 7]) {
  Deno.test(
    `PageServerLink goes on with a connection by which another has asked, behind ${early} bytes that were for it`,
    leavingNoDescriptors(async () => {
      const resumeBy = { imageId: PID, address: 0x7000 };
      // With what looks like an answer to the same question in it, if there is room.
      const bytes = new Uint8Array(early).fill(7);
      const header = new PageHeader(24);
      header.make(PRESENT_ADD, 1, resumeBy.address, PID);
      if (early > 1000) bytes.set(header.bytes, 500);
      const starting = Served.start(24, { resumeBy: [resumeBy] }, bytes);
      await using served = await starting;
      const taker = new Taker();
      served.link.ask(taker, 3, PAGE, 2, true);
      const step = async (what: string, holds: () => boolean) => {
        await until(what, () => {
          served.link.step();
          return holds();
        });
      };
      assertEquals(await served.request(), [GET, 1, resumeBy.address, PID]);
      await served.say(header.bytes);
      await served.say(new Uint8Array(PAGE).fill(9));
      // Only now it asks for what is wanted.
      let asked: number[] | undefined;
      served.request().then((words) => asked = words);
      await step("it asks", () => asked !== undefined);
      assertEquals(asked, [GET, 2, PAGE, PID]);
      assertEquals(taker.taken, []);
      await served.answer(PAGE, [5, 6]);
      await step("they came", () => taker.taken.length === 2);
      assertEquals(taker.taken, [[3, 5, true], [4, 6, true]]);
      assertEquals(served.link.lost, undefined);
      served.link.close();
      assertEquals((await served.request())[0], CLOSE);
    }),
  );
}

Deno.test(
  "PageServerLink finds out that it took another's answer for its own, and seeks anew",
  leavingNoDescriptors(async () => {
    const resumeBy = [0x9000, 0x7000].map((address) => ({ imageId: PID, address }));
    await using served = await Served.start(24, { resumeBy });
    const taker = new Taker();
    served.link.ask(taker, 3, PAGE, 2, true);
    const next = async () => {
      let asked: number[] | undefined;
      served.request().then((words) => asked = words);
      await until("it asks", () => {
        served.link.step();
        return asked !== undefined;
      });
      return asked;
    };
    assertEquals(await next(), [GET, 1, 0x7000, PID]);
    await served.answer(0x7000, [1]); // to the server before
    assertEquals(await next(), [GET, 2, PAGE, PID]);
    await served.answer(0x5000, [7, 7]); // likewise
    assertEquals(await next(), [GET, 1, 0x9000, PID]);
    await served.answer(0x7000, [1]);
    await served.answer(PAGE, [5, 6]);
    await served.answer(0x9000, [2]);
    assertEquals(await next(), [GET, 2, PAGE, PID]);
    assertEquals(taker.taken, []);
    await served.answer(PAGE, [5, 6]);
    await until("they came", () => {
      served.link.step();
      return taker.taken.length === 2;
    });
    assertEquals(taker.taken, [[3, 5, true], [4, 6, true]]);
    assertEquals(served.link.lost, undefined);
  }),
);

Deno.test("PageServerLink without a connection says so to whoever asks", () => {
  const connection = { fd: -1 };
  using link = new PageServerLink({
    connection,
    name: "tcp:there:1",
    headerBytes: 24,
    lost: "why",
  });
  const taker = new Taker();
  link.ask(taker, 3, PAGE, 2, true);
  assertEquals(taker.missed, [[3, 2]]);
  assertEquals(
    link.lost!.message,
    "Page server tcp:there:1 is lost, and with it the pages that have not come: why",
  );
  assert(link.closed);
});
