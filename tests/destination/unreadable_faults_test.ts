/** A fault server whose userfaultfd cannot be read holds, and waits for a source. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { MainHandover } from "../../client/connecting/main_handover.ts";
import { listenersRing } from "../../client/connecting/listeners.ts";
import { DOOR_SLOTS } from "../../client/connecting/preempt_door.ts";
import { SentAway } from "../../client/connecting/sent_away.ts";
import type { FaultMessage } from "../../client/faults/fault_messages.ts";
import { FaultServer } from "../../client/faults/fault_server.ts";
import { DestinationState } from "../../client/placing/destination_state.ts";
import { landedRing, returnPathRing } from "../../client/return_path/return_path_ring.ts";
import { closeDescriptor, newPipe } from "../../ffi/descriptors.ts";
import { Eventfd } from "../../ffi/eventfd.ts";
import { Listener } from "../../ffi/listener.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { Socket } from "../../ffi/socket.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { HandPoll } from "../support/hand_poll.ts";
import { LOOPBACK } from "../support/migrate.ts";

const PAGE = 4096;
const PAGES = 64;
/** Steps that a server would make that looks again and again. */
const STEPS = 20;

for (const paused of [false, true]) {
  const when = paused ? "while it holds" : "while it serves";
  Deno.test(
    `FaultServer whose userfaultfd cannot be read ${when} says so once, and waits`,
    leavingNoDescriptors(async () => {
      using stack = new DisposableStack();
      const listener = stack.use(await Listener.listen(LOOPBACK));
      const main = stack.use(await Socket.connect(listener.address));
      const [wake, mainWake] = [stack.use(new Eventfd()), stack.use(new Eventfd())];
      // In its place a pipe's end to write to: found ready once nobody reads there, and no read of it succeeds.
      const { reading, writing: uffd } = newPipe();
      stack.defer(() => closeDescriptor(uffd));
      const { address, length } = stack.use(MappedMemory.anonymous(PAGES * PAGE));
      const state = new DestinationState();
      state.setListening();
      state.addAbsent(1); // so that faults are taken while it holds, too
      if (paused) state.pause();
      const bitmap = () => new PageBitmap(PAGES).buffer;
      const told: FaultMessage[] = [];
      const poll = new HandPoll(DOOR_SLOTS + 8);
      const server = stack.use(
        new FaultServer(
          {
            blocks: {
              mapped: {
                blocks: [{ name: "ram", address, length, fd: -1, pageSize: PAGE }],
                targetPageSize: PAGE,
                shared: false,
                aliases: [address],
              },
              ...{ received: bitmap(), claimed: bitmap(), requested: bitmap(), absent: bitmap() },
            },
            uffd,
            main: { fd: main.fd },
            wakeFd: wake.fd,
            mainWakeFd: mainWake.fd,
            handover: new MainHandover().shared,
            listeners: listenersRing().buffer,
            state: state.buffer,
            answers: returnPathRing().buffer,
            controlAnswers: returnPathRing().buffer,
            landed: landedRing().buffer,
            incoming: {
              ...{ entrance: { fd: listener.fd }, silent: [], mainFd: main.fd, before: 0 },
              sentAway: new SentAway().shared,
            },
            spin: 0,
          },
          (message) => told.push(message),
          poll,
        ),
      );
      let steps = 0;
      const rest = () => {
        do {
          poll.look();
          assertEquals(server.step(), false);
        } while (++steps < STEPS && (poll.wantsTurn || poll.found > 0));
      };
      if (paused) rest();
      assertEquals(told, []);
      closeDescriptor(reading);
      rest();
      assertEquals(
        told.map((message) => message.kind === "paused" ? [message.code, message.reason] : message),
        [["GUEST_FAILED", "Cannot read faults: EBADF"]],
      );
      assertEquals(steps < STEPS, true, "It looks again and again");
    }),
  );
}
