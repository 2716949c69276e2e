/** What is heard of an incoming stream by whoever reads it. */

import type { Command } from "../../migration/protocol/command.ts";
import type { Configuration } from "../../migration/protocol/configuration.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";

/** A machine at the switchover: all that is needed to run it but the pages still to come. */
export interface ArrivedMachine {
  /** SECTION_FULL elements of its devices, opaque. */
  readonly deviceState: Uint8Array<ArrayBuffer>;
  /** PINGs and RUN, to be obeyed once the device state is loaded; none when all memory came before. */
  readonly commands: readonly Command[];
  /** How the source describes the device state, JSON; only where all memory came before. */
  readonly description?: string;
}

/** What happens in a stream, for whoever reads it. */
export interface StreamEvents {
  /** The machine type is known. */
  configuration(configuration: Configuration): void;
  /** The source listens to what is said in the other direction. */
  returnPathOpened(): void;
  /** The source wants an answer. */
  ping(value: number): void;
  /** {@linkcode IncomingMemory.open} has been called. */
  opened(machine: StreamMachine): void;
  /** {@linkcode IncomingMemory.listen} has been called: the source serves requests. */
  listening(): void;
  /** A source that resumes wants to know which pages of this block are here; there is such a block. */
  bitmapWanted(block: string): void;
  /** A source that resumes has what it needs, and wants to hear that it may go on. */
  resumed(): void;
  /** The guest has stopped at the source: its device state begins to arrive. */
  switchover(): void;
  /** The device state is here; `precopy` when all of the memory is too. */
  arrived(machine: ArrivedMachine, precopy: boolean): void;
  /** The end, regular and complete. */
  ended(): void;
}
