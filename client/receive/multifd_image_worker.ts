import { OutputFile } from "../../ffi/file.ts";
import { runPoolThread } from "../../migration/threads/pool_thread.ts";
import type { TaskMaker } from "../../migration/threads/task.ts";
import { MultifdChannel, type MultifdHello } from "../multifd/multifd_channel.ts";
import type { MultifdTaskInit } from "../multifd/multifd_channels.ts";
import { ImageMemory } from "./image_memory.ts";
import { type ImagePlace, MULTIFD_IMAGE_TASK } from "./multifd_image.ts";
import { ReceiveState } from "./receive_state.ts";

const make: TaskMaker<MultifdTaskInit<ImagePlace>, MultifdHello> = (
  { channel, place },
  tell,
  poll,
) => {
  const { fileFd, partialPath, state, image } = place;
  const file = OutputFile.borrow(partialPath, fileFd);
  const memory = new ImageMemory(file, new ReceiveState(state, { task: channel.participant }));
  memory.join(image);
  return new MultifdChannel(channel, () => memory, tell, poll);
};
runPoolThread({ [MULTIFD_IMAGE_TASK.name]: make });
