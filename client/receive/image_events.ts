/** What is heard from the source of an image: how far it has let go of the guest, and what it waits for. */

import { syncDirectory } from "../../ffi/file.ts";
import { imageTail } from "../../image/mapped_ram/image_tail.ts";
import type { Configuration } from "../../migration/protocol/configuration.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";
import type { Tell } from "../../migration/threads/task.ts";
import type { ArrivedMachine, StreamEvents } from "../incoming/stream_events.ts";
import type { ImageAnswers } from "./image_answers.ts";
import type { ImageCallers } from "./image_callers.ts";
import type { ImageChannelMessage } from "./image_channel_messages.ts";
import type { ImageMemory } from "./image_memory.ts";
import { Counter, Holder, type ReceiveState } from "./receive_state.ts";

/** The PING of QEMU 10.2 and later whose answer is its permission to give the guest up. */
const PACKAGE_LOADED = 0x42;

/** Who must hear of it. */
export interface ImageEventsInit {
  readonly answers: ImageAnswers;
  readonly callers: ImageCallers;
  readonly memory: ImageMemory;
  readonly state: ReceiveState;
  /** The directory of the file. */
  readonly directory: string;
  /** Called with what the control plane must know. */
  readonly tell: Tell<ImageChannelMessage>;
}

/** Hears a stream, and keeps what its source has yet to be told. */
export class ImageEvents implements StreamEvents {
  readonly #answers: ImageAnswers;
  readonly #callers: ImageCallers;
  readonly #memory: ImageMemory;
  readonly #state: ReceiveState;
  readonly #directory: string;
  readonly #tell: Tell<ImageChannelMessage>;
  #mayGoOn = true;
  #withheld = false;
  #unmarked = false;
  /** The guest has arrived, and nobody was told: the file does not say so yet. */
  #untold = false;
  /** What is to be answered when the file is marked. */
  #pings: number[] = [];
  /** The source had named pages when it switched to postcopy: it sent some, or took them back. */
  #named = false;

  /** @param init who must hear of it */
  constructor({ answers, callers, memory, state, directory, tell }: ImageEventsInit) {
    this.#answers = answers;
    this.#callers = callers;
    this.#memory = memory;
    this.#state = state;
    this.#directory = directory;
    this.#tell = tell;
  }

  /** The source lets the guest go on whenever the connection breaks before it has heard the end. */
  get mayGoOn(): boolean {
    return this.#mayGoOn;
  }

  /** The source has switched for good, and the file does not say so yet. */
  get unmarked(): boolean {
    return this.#unmarked;
  }

  /**
   * Whether the source waits to be let go, and can be: nothing that it took back is missing. One that has
   * taken nothing back and sent nothing must send all of its memory first.
   */
  get mayLetGo(): boolean {
    if (!this.#withheld) return false;
    return this.#memory.missing === 0 && (this.#named || this.#memory.whole);
  }

  /** Permits the source to give the guest up: every page is on the disk. */
  letGo(): void {
    this.#withheld = false;
    this.#state.holder = Holder.SWITCHED;
    this.ping(PACKAGE_LOADED);
  }

  /** The file says that its source has switched: what waited for that is answered. */
  marked(): void {
    this.#unmarked = false;
    this.#tellArrived();
    for (const value of this.#pings.splice(0)) this.#answers.pong(value);
  }

  /** The file says so no more: it was begun anew. */
  unmark(): void {
    this.#unmarked = true;
  }

  /** The connection is gone, and with it who waited for an answer. */
  disconnected(): void {
    this.#pings = [];
  }

  /** Goes on after a receiver that has heard a source switch for good, and marked the file. */
  adopt(): void {
    this.#mayGoOn = false;
    this.#named = true;
    this.#answers.setOpen();
    this.#callers.welcomeRecovery();
  }

  configuration({ machine }: Configuration): void {
    this.#tell({ kind: "configuration", machine });
  }

  returnPathOpened(): void {
    this.#answers.setOpen();
    this.#tell({ kind: "return-path" });
  }

  ping(value: number): void {
    if (this.#unmarked) this.#pings.push(value);
    else this.#answers.pong(value);
  }

  opened({ configuration }: StreamMachine): void {
    syncDirectory(this.#directory); // the frame is on the disk, by which the guest can be handed back
    this.#tell({ kind: "opened", image: this.#memory.shared });
    this.#answers.approve(configuration.machine);
  }

  listening(): void {
    this.#tell({ kind: "listening" });
  }

  bitmapWanted(block: string): void {
    this.#answers.wantBitmap(this.#memory.indexOf(block));
  }

  resumed(): void {
    this.#callers.resume();
    this.#answers.acknowledgeResume();
    this.#tell({ kind: "postcopy" });
  }

  switchover(): void {
    this.#tell({ kind: "switchover" });
  }

  arrived({ deviceState, commands, description }: ArrivedMachine, precopy: boolean): void {
    // From here on a source that waits for no answer has let go of the guest.
    const waits = precopy
      ? this.#answers.open
      : commands.some((command) => command.kind === "ping" && command.value === PACKAGE_LOADED);
    this.#mayGoOn = waits;
    if (!waits) this.#state.holder = precopy ? Holder.SOURCE_DONE : Holder.SWITCHED;
    const pageSize = this.#state.get(Counter.PAGE_SIZE);
    this.#memory.writeTail(imageTail(deviceState, description, pageSize));
    if (precopy) return;
    if (!waits) {
      this.#callers.welcomeRecovery();
      this.#unmarked = true;
    }
    this.#untold = true;
    if (!this.#unmarked) this.#tellArrived();
    this.#named = this.#state.get(Counter.RECEIVED) + this.#memory.missing > 0;
    for (const command of commands) {
      if (command.kind !== "ping") continue;
      if (command.value === PACKAGE_LOADED) this.#withheld = true;
      else this.ping(command.value);
    }
  }

  ended(): void {}

  #tellArrived(): void {
    if (!this.#untold) return;
    this.#untold = false;
    this.#tell({ kind: "postcopy" });
  }
}
