/** A door of a process that has no descriptors left for a time. */
import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { DOOR_SLOTS, PreemptDoor } from "../../client/connecting/preempt_door.ts";
import { SentAway } from "../../client/connecting/sent_away.ts";
import { Listener } from "../../ffi/listener.ts";
import { Socket } from "../../ffi/socket.ts";
import { StreamEncoder } from "../../migration/protocol/stream_encoder.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { HandPoll } from "../support/hand_poll.ts";
import { LOOPBACK } from "../support/migrate.ts";

/** Milliseconds that turn a hang into a failure. */
const PATIENCE = 20_000;
/** From include/uapi/asm-generic/resource.h. */
const RLIMIT_NOFILE = 7;

const libc = Deno.dlopen("libc.so.6", {
  getrlimit: { parameters: ["i32", "buffer"], result: "i32" },
  setrlimit: { parameters: ["i32", "buffer"], result: "i32" },
}).symbols;

/** Does something while this process may open no descriptor; those that it has are as they were. */
function withoutDescriptors(act: () => void): void {
  // struct rlimit { u64 soft; u64 hard; }
  const limits = new BigUint64Array(2);
  const bytes = new Uint8Array(limits.buffer);
  assertEquals(libc.getrlimit(RLIMIT_NOFILE, bytes), 0);
  const [soft] = limits;
  const limitTo = (most: bigint) => {
    limits[0] = most;
    return libc.setrlimit(RLIMIT_NOFILE, bytes);
  };
  try {
    assertEquals(limitTo(0n), 0);
    act();
  } finally {
    limitTo(soft!);
  }
}

Deno.test(
  "PreemptDoor that has no descriptor for a source lets it in once there is one",
  leavingNoDescriptors(async () => {
    using listener = await Listener.listen(LOOPBACK);
    const poll = new HandPoll(DOOR_SLOTS);
    using door = new PreemptDoor(poll, 0, {
      entrance: { fd: listener.fd },
      silent: [],
      mainFd: -1,
      before: 0,
      sentAway: new SentAway().shared,
    });
    door.hold();
    door.resumable = true;
    const stream = new StreamEncoder();
    stream.command({ kind: "resume" });
    using source = await Socket.connect(listener.address);
    await source.sendAll(stream.take());
    poll.wait(PATIENCE);
    withoutDescriptors(() => door.look());
    // It is not found again and again meanwhile, and not forgotten.
    assert(poll.patience < 1e9, `${poll.patience}`);
    const before = poll.patience;
    poll.look();
    assertEquals(poll.found, 0);
    poll.patience = before;
    while (!door.knocks) {
      const waits = poll.patience < Infinity;
      poll.wait(PATIENCE);
      assert(waits || poll.found > 0, "Nobody looks for it any more");
      door.look();
    }
    assert(door.takeRecovery() !== undefined);
  }),
);
