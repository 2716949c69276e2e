/** Connections of a receiver whose main channel broke before they were handed to its task. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { ImageCallers } from "../../client/receive/image_callers.ts";
import { ImageMemory } from "../../client/receive/image_memory.ts";
import { Counter, ReceiveState } from "../../client/receive/receive_state.ts";
import { DOOR_SLOTS } from "../../client/connecting/preempt_door.ts";
import { SentAway } from "../../client/connecting/sent_away.ts";
import { OutputFile } from "../../ffi/file.ts";
import { Listener } from "../../ffi/listener.ts";
import { RamEncoder } from "../../migration/protocol/ram_encoder.ts";
import { Pair } from "../channel/pair.ts";
import { withDirectory } from "../image/captures.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { HandPoll } from "../support/hand_poll.ts";
import { LOOPBACK } from "../support/migrate.ts";

const PAGE = 4096;

Deno.test(
  "ImageCallers takes a preempt channel that is handed over behind the break of its connection for none",
  leavingNoDescriptors(() =>
    withDirectory(async (directory) => {
      using pair = await Pair.connect();
      using listener = await Listener.listen(LOOPBACK);
      using file = OutputFile.create(`${directory}/image`);
      const state = new ReceiveState();
      using memory = new ImageMemory(file, state);
      memory.open({
        configuration: { machine: "pc-q35-7.2" },
        ramSection: { id: 2, instance: 0, version: 4 },
        targetPageSize: PAGE,
        blocks: [{ name: "ram", usedLength: 16 * PAGE }],
      });
      using callers = new ImageCallers(new HandPoll(DOOR_SLOTS + 1), 0, memory, state, {});
      callers.begin();
      callers.hold();
      const records = new RamEncoder();
      records.block("ram");
      records.zeroPage(0, 0);
      await pair.there.sendAll(records.take());
      pair.awaitInput();
      state.handOver({
        entrance: { fd: listener.fd },
        silent: [{ fd: pair.here.fd }],
        mainFd: -1,
        before: 0,
        sentAway: new SentAway().shared,
      });
      callers.look();
      assertEquals(state.get(Counter.RECEIVED), 0);
      // It was sent away.
      assertEquals(await pair.there.receive(new Uint8Array(1)), 0);
    })
  ),
);
