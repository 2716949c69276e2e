/** Channels of multifd whose pages go into an image. */

import type { TaskKind } from "../../migration/threads/thread_pool.ts";
import type { MultifdHello } from "../multifd/multifd_channel.ts";
import type { MultifdTaskInit } from "../multifd/multifd_channels.ts";
import type { SharedImage } from "./image_memory.ts";

/** The image, as a channel's task needs to know it. */
export interface ImagePlace {
  /** The file, owned elsewhere, and its name. */
  readonly fileFd: number;
  readonly partialPath: string;
  /** Shared memory of the {@linkcode ReceiveState}. */
  readonly state: SharedArrayBuffer;
  readonly image: SharedImage;
}

/** Receiving one, on threads that may wait for a disk, as those that receive images do. */
export const MULTIFD_IMAGE_TASK: TaskKind<MultifdTaskInit<ImagePlace>, MultifdHello> = {
  thread: new URL("./multifd_image_worker.ts", import.meta.url),
  name: "multifd image",
  urgent: false,
};
