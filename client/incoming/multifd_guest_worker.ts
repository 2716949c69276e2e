import { becomeBackgroundThread } from "../../ffi/scheduling.ts";
import { runPoolThread } from "../../migration/threads/pool_thread.ts";
import type { TaskMaker } from "../../migration/threads/task.ts";
import { MultifdChannel, type MultifdHello } from "../multifd/multifd_channel.ts";
import type { MultifdTaskInit } from "../multifd/multifd_channels.ts";
import { DestinationState } from "../placing/destination_state.ts";
import { GuestMemoryStore } from "../placing/guest_memory_store.ts";
import { type GuestPlace, MULTIFD_GUEST_TASK } from "./multifd_guest.ts";

/** Nobody asks for a page before LISTEN. */
const onLanded = () => {};

const make: TaskMaker<MultifdTaskInit<GuestPlace>, MultifdHello> = (
  { channel, place: { uffd, backing, state, blocks } },
  tell,
  poll,
) =>
  new MultifdChannel(
    channel,
    (buffer) => {
      const memory = new GuestMemoryStore(
        uffd,
        backing,
        new DestinationState(state),
        onLanded,
        buffer,
      );
      memory.join(blocks);
      return memory;
    },
    tell,
    poll,
  );
runPoolThread({ [MULTIFD_GUEST_TASK.name]: make }, becomeBackgroundThread);
