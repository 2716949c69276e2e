import "../../support/native.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { sendDescriptors } from "../../../ffi/descriptor_passing.ts";
import { closeDescriptor } from "../../../ffi/descriptors.ts";
import { Eventfd } from "../../../ffi/eventfd.ts";
import { Listener } from "../../../ffi/listener.ts";
import { Socket } from "../../../ffi/socket.ts";
import { acceptFrom } from "../../../ffi/socket_calls.ts";
import { RestoreSocket } from "../../../client/lazy/criu/restore_socket.ts";
import { leavingNoDescriptors } from "../../support/descriptors.ts";

/** A connection to CRIU, whose end a test plays. */
class Restoring implements Disposable {
  readonly criu: Socket;
  readonly fd: number;
  readonly #event = new Eventfd();
  readonly #listener: Listener;

  private constructor(listener: Listener, criu: Socket) {
    this.#listener = listener;
    this.criu = criu;
    this.fd = acceptFrom(listener.fd);
  }

  static async start(): Promise<Restoring> {
    const path = Deno.makeTempFileSync({ prefix: "postcopy-restore-" });
    Deno.removeSync(path);
    const listener = await Listener.listen({ transport: "unix", path });
    return new Restoring(listener, await Socket.connect({ transport: "unix", path }));
  }

  /** Says a number. */
  number(value: number): void {
    const bytes = new Uint8Array(new Int32Array([value]).buffer);
    assertEquals(sendDescriptors(this.criu.fd, bytes, []), 4);
  }

  /** Hands a process's descriptor over. */
  descriptor(): void {
    assertEquals(sendDescriptors(this.criu.fd, new Uint8Array(1), [this.#event.fd]), 1);
  }

  [Symbol.dispose](): void {
    this.criu.close();
    this.#listener.close();
    this.#event.close();
  }
}

/** Notes what is said; throws at a process, if it is to be killed there. */
class Hearing {
  readonly said: (number | string)[] = [];
  readonly socket: RestoreSocket;

  constructor(fd: number, killedAt?: number) {
    this.socket = new RestoreSocket(fd, {
      restored: (pid) => {
        const uffd = this.socket.takeDescriptor();
        assert(uffd !== undefined);
        closeDescriptor(uffd);
        if (pid === killedAt) throw new Error("Killed by the test");
        this.said.push(pid);
      },
      finished: () => this.said.push("finished"),
    });
  }
}

Deno.test(
  "RestoreSocket leaves a message in the connection that was not dealt with, and its descriptor",
  leavingNoDescriptors(async () => {
    using restoring = await Restoring.start();
    restoring.number(7);
    restoring.descriptor();
    restoring.number(-1);
    restoring.number(8);
    restoring.descriptor();
    restoring.number(0x5253_5446);
    const first = new Hearing(restoring.fd, 8);
    assertThrows(() => first.socket.hear(false), Error, "Killed by the test");
    assertEquals(first.said, [7]);
    // The next one has a copy of the connection.
    const next = new Hearing(restoring.fd);
    using _socket = next.socket;
    assertEquals(next.socket.hear(false), "empty");
    assertEquals(next.said, [8, "finished"]);
  }),
);

Deno.test(
  "RestoreSocket leaves a part of a message where it is until the rest comes, or nothing more can",
  leavingNoDescriptors(async () => {
    using restoring = await Restoring.start();
    const { fd } = restoring;
    assertEquals(sendDescriptors(restoring.criu.fd, new Uint8Array([9, 0]), []), 2);
    const first = new Hearing(fd);
    assertEquals(first.socket.hear(false), "part");
    assertEquals(sendDescriptors(restoring.criu.fd, new Uint8Array([0, 0]), []), 2);
    assertEquals(first.socket.hear(false), "part");
    restoring.descriptor();
    const next = new Hearing(fd);
    using _socket = next.socket;
    assertEquals(next.socket.hear(false), "empty");
    assertEquals(next.said, [9]);
    restoring.number(10);
    assertEquals(next.socket.hear(false), "part");
    restoring.criu.close();
    assertEquals(next.socket.hear(true), { ended: "it left" });
    assertEquals(next.said, [9]);
  }),
);
