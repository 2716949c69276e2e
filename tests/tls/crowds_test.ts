/** Crowds before a destination that never shake hands, or shake hands and say nothing: a migration comes through. */
import "../support/native.ts";
import { assert, assertGreaterOrEqual, assertLess } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { shakeHands } from "../../channel/tls/shake_hands.ts";
import { Errno } from "../../ffi/errno.ts";
import { PollSet } from "../../ffi/poll.ts";
import { Socket } from "../../ffi/socket.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { TlsContext } from "../../ffi/tls/context.ts";
import { TlsSession } from "../../ffi/tls/session.ts";
import { TlsStream } from "../../ffi/tls/stream.ts";
import { openImage } from "../../image/open_image.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { Source } from "../../server/source.ts";
import { withDirectory } from "../image/captures.ts";
import { assertImageMemory } from "../receive/memory_model.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors, openDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { type Encryption, LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { preSharedKey } from "./credentials.ts";

/** Far more than are kept. */
const CROWD = 1000;
/** Of a migration. */
const CHANNELS = 2;
/** As many as do not push one another out. */
const FEW = 8;
/** Milliseconds that nobody may be silent for; a machine of any speed migrates this image's pages meanwhile. */
const STALL = 2000;
/** Bytes that a session which is not freed leaves: less than its record that waits for room. */
const SESSION = 16_000;

const MALLINFO = { struct: new Array(10).fill("usize") as "usize"[] } as const;
const libc = Deno.dlopen("libc.so.6", {
  mallinfo2: { parameters: [], result: MALLINFO },
}).symbols;

/** Bytes that the C library has given out: those of sessions among them, and nothing of V8's heap. */
function allocated(): number {
  const words = new BigUint64Array(libc.mallinfo2().slice().buffer);
  return Number(words[7]! + words[4]!); // uordblks and hblkhd of malloc.h
}

/** Either kind of destination. */
interface Receiving extends AsyncDisposable {
  readonly receiver: Destination | ImageReceiver;
  /** Sees that every byte is there. */
  check(image: TestImage): Promise<void>;
}

type Options = Readonly<{ tls: Encryption["destination"]; stallTimeout?: number }>;

const KINDS: Readonly<Record<string, (options: Options, directory: string) => Receiving>> = {
  Destination: (options) => {
    const guest = new StillGuest();
    const receiver = new Destination({ guest, ...options });
    return {
      receiver,
      check: (image) => Promise.resolve(image.assertEqualMemory(guest.blocks)),
      [Symbol.asyncDispose]: () => receiver.close(),
    };
  },
  ImageReceiver: (options, directory) => {
    const path = `${directory}/received`;
    const receiver = new ImageReceiver({ path, ...options });
    return {
      receiver,
      check: async ({ path: sent }) => {
        using received = await openImage(path);
        assertImageMemory(received, new Map([["ram", Deno.readFileSync(sent)]]));
      },
      [Symbol.asyncDispose]: () => receiver.close(),
    };
  },
};

/** Sockets that are open in this process. */
function sockets(): number {
  return openDescriptors().socket ?? 0;
}

/** Connections that never finish a handshake: silent ones, and those that stop in the middle of a word. */
async function crowd(to: SocketAddress, stack: DisposableStack): Promise<void> {
  // The head of a record of a handshake, and of a ClientHello that would be longer.
  const begun = Uint8Array.of(22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3);
  for (let index = 0; index < CROWD; index++) {
    const socket = stack.use(await Socket.connect(to));
    if (index % 2 === 1) {
      await socket.sendAll(begun.subarray(0, index % begun.length)).catch(() => {});
    }
  }
}

for (const [kind, make] of Object.entries(KINDS)) {
  Deno.test(
    `${kind} over TLS takes its source among a thousand that never shake hands, and keeps nothing of theirs`,
    leavingNoDescriptors(() =>
      withDirectory(async (directory) => {
        await using both = await preSharedKey();
        const { source: client, destination: tls } = both.encryption;
        using image = await TestImage.make({ ram: 64 });
        using opened = await openImage(image.path);
        await using receiving = make({ tls }, directory);
        const { receiver } = receiving;
        const to = await receiver.listen(LOOPBACK);
        const before = sockets();
        const gone = async () => {
          {
            using stack = new DisposableStack();
            await crowd(to, stack);
          }
          await until("all to be let go", () => sockets() <= before);
        };
        await gone();
        const first = allocated();
        await gone();
        assertLess(allocated() - first, CROWD * SESSION / 2);
        {
          using stack = new DisposableStack();
          const coming = crowd(to, stack);
          await using source = new Source(opened, { to, tls: client });
          await within("the source to complete", source.run());
          await within("the destination to complete", receiver.finished);
          await coming;
        }
        await receiving.check(image);
        // The migration's own channels may stay until it is closed.
        await until("all others to be let go", () => sockets() <= before + CHANNELS);
        assertGreaterOrEqual(receiver.silentConnections.count, CROWD);
      })
    ),
  );

  Deno.test(
    `${kind} over TLS takes its source beside strangers that shake hands and are silent, and sends them away`,
    leavingNoDescriptors(() =>
      withDirectory(async (directory) => {
        await using both = await preSharedKey();
        const { source: client, destination: tls } = both.encryption;
        using image = await TestImage.make({ ram: 64 });
        using opened = await openImage(image.path);
        await using receiving = make({ tls, stallTimeout: STALL }, directory);
        const { receiver } = receiving;
        const to = await receiver.listen(LOOPBACK);
        using stack = new DisposableStack();
        const context = stack.use(TlsContext.psk("client", [{ identity: "qemu", key: both.key }]));
        const come = async (): Promise<TlsStream[]> => {
          const strangers: TlsStream[] = [];
          for (let index = 0; index < FEW; index++) {
            const socket = stack.use(await Socket.connect(to));
            const session = stack.use(new TlsSession(context, socket.fd, "the destination"));
            await shakeHands(ThreadPool.shared, () => session.handshake);
            strangers.push(new TlsStream(session.init));
          }
          return strangers;
        };
        const told = (strangers: readonly TlsStream[]) =>
          until("the strangers to be told", () => strangers.every(hasEnded));
        await told(await come()); // after some time, whether a source comes or not
        const others = await come();
        await using source = new Source(opened, { to, tls: client });
        await within("the source to complete", source.run());
        await within("the destination to complete", receiver.finished);
        await receiving.check(image);
        await receiver.close();
        await told(others);
      })
    ),
  );
}

/** Reads what is there: nothing ever but the end. */
function hasEnded(stream: TlsStream): boolean {
  const poll = new PollSet(1);
  const count = stream.readInto(new Uint8Array(20_000), 20_000);
  poll.watch(0, stream.fd, stream.wants);
  assert(count <= 0, `A stranger was told something: ${count} bytes`);
  return count !== -Errno.EAGAIN;
}
