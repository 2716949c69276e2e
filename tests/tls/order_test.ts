/** The order in which a source over TLS connects: a QEMU takes for the main channel whose handshake is done first. */
import "../support/native.ts";
import { assertEquals, assertGreater } from "@std/assert";
import { loadCredentials } from "../../channel/tls/credentials.ts";
import { libc } from "../../ffi/libc.ts";
import { Listener } from "../../ffi/listener.ts";
import { PollEvents } from "../../ffi/poll.ts";
import type { Socket } from "../../ffi/socket.ts";
import { TlsHandshake } from "../../ffi/tls/handshake.ts";
import { TlsSession } from "../../ffi/tls/session.ts";
import { waitReady } from "../../ffi/wait_ready.ts";
import { openImage } from "../../image/open_image.ts";
import { Source } from "../../server/source.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { testUnless } from "../support/skip.ts";
import { Authority } from "../../qemu/authority.ts";
import { needsOpenssl } from "./authority.ts";

const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
/** The least that a socket can have: less than a client with a long certificate says at once. */
const LITTLE_ROOM = new Uint8Array(Int32Array.of(2048).buffer);
const NAMES = Array.from({ length: 400 }, (_, index) => `DNS:host${index}.rack.site.example`);
/**
 * Turns of the event loop, which the source's control plane shares, for it to do what it should not; and the
 * milliseconds that they may take, for the source waits no longer than a second.
 */
const TURNS = 40;
const HOLD = 400;

/** A destination that leaves the end of the first handshake in the network, and sees who comes meanwhile. */
class LateReader implements Disposable {
  readonly events: string[] = [];
  readonly #listener: Listener;
  readonly #context;
  readonly #stack = new DisposableStack();

  private constructor(listener: Listener, credentials: string) {
    this.#listener = listener;
    this.#context = loadCredentials(credentials, "server", {}, () => {});
    libc().setsockopt(listener.fd, SOL_SOCKET, SO_RCVBUF, LITTLE_ROOM, LITTLE_ROOM.length);
  }

  static async start(credentials: string): Promise<LateReader> {
    return new LateReader(await Listener.listen(LOOPBACK), credentials);
  }

  get address() {
    return this.#listener.address;
  }

  /** Shakes hands with both, the second first if it can. */
  async serve(): Promise<void> {
    const main = this.#shaking("main", await this.#listener.accept());
    await main.next(); // it has what this end says, and answers with more than there is room for
    const second = this.#listener.accept();
    let turns = 0;
    const early = second.then(() => true);
    const late = (async () => {
      const end = performance.now() + HOLD;
      for (; turns < TURNS && performance.now() < end; turns++) {
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      return false;
    })();
    const overtaken = await Promise.race([early, late]);
    if (!overtaken) await main.end();
    const preempt = this.#shaking("preempt", await second);
    await preempt.end();
    if (overtaken) await main.end();
  }

  #shaking(name: string, accepted: Socket) {
    const socket = this.#stack.use(accepted);
    const session = this.#stack.use(new TlsSession(this.#context, socket.fd, name));
    const handshake = this.#stack.use(new TlsHandshake(session.handshake));
    this.events.push(`${name} connected`);
    let done = false;
    const next = async () => {
      await waitReady(socket.fd, handshake.wants || PollEvents.IN, "the source", {});
      done = handshake.step();
    };
    const end = async () => {
      while (!done) await next();
      this.events.push(`${name} has shaken hands`);
    };
    return { next, end };
  }

  [Symbol.dispose](): void {
    this.#listener.close();
    this.#stack.dispose();
    this.#context.close();
  }
}

testUnless(
  needsOpenssl(),
  "Source over TLS connects the preempt channel only when the end of main's handshake has arrived",
  leavingNoDescriptors(async () => {
    await using authority = await Authority.make();
    await authority.issue("server", { purpose: "serverAuth" });
    await authority.issue("client", { purpose: "clientAuth", names: NAMES.join(",") });
    const certificate = await Deno.stat(authority.path("client-cert.pem"));
    assertGreater(certificate.size, 4 * 2048);
    using file = await TestImage.make({ ram: 16 });
    // A machine with whose destinations both channels are made before anything is said.
    const json = await Deno.readTextFile(`${file.path}.json`);
    await Deno.writeTextFile(`${file.path}.json`, json.replace(/postcopy-workload/, "pc-q35-7.2"));
    using image = await openImage(file.path);
    using destination = await LateReader.start(authority.directory);
    const tls = { credentials: authority.directory };
    await using source = new Source(image, { to: destination.address, tls, recoverTimeout: 0 });
    const run = source.run();
    run.catch(() => {}); // nobody takes its pages
    await within("both handshakes", destination.serve());
    assertEquals(destination.events, [
      "main connected",
      "main has shaken hands",
      "preempt connected",
      "preempt has shaken hands",
    ]);
  }),
);
