/** Worker entry: a source of compressed pages, on a thread of its own: the main one stands still. */

import "../support/native.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { HostileSource } from "../hostile/scripted_source.ts";
import { ScriptedMemory } from "./scripted_memory.ts";

/** Where to send, and whether compressed pages come before the switch too. */
export interface Sending {
  readonly to: SocketAddress;
  readonly warm: boolean;
}

/** What was sent. */
export interface SentMemory {
  readonly bytes: Uint8Array;
  /** Pages that were asked for before any came. */
  readonly requests: number;
}

const BLOCKS = { ram: 400 };

const scope = self as unknown as {
  onmessage: (event: MessageEvent<Sending | "go on">) => void;
  postMessage(sent: SentMemory): void;
};

async function send({ to, warm }: Sending, goOn: Promise<void>): Promise<SentMemory> {
  using source = new HostileSource(to, BLOCKS);
  const memory = new ScriptedMemory(source, BLOCKS);
  const all = Array.from({ length: memory.pages }, (_, page) => page);
  await source.connect();
  source.encodeAdvise();
  source.encodeBlocks();
  if (warm) {
    let over = false;
    goOn.then(() => over = true);
    for (let version = 1; !over; version = version % 50 + 1) {
      memory.write(all.slice(0, 20), version, "zlib");
      await source.flush();
      await new Promise((resolve) => setTimeout(resolve, 1)); // hears the message
    }
    memory.discard(all);
  }
  await goOn;
  memory.switchOver();
  await source.flush();
  await source.hear(({ requests }) => requests.length > 0);
  const requests = source.heard.requests.length;
  memory.write(all, 60, "zlib");
  source.encodeEnd();
  await source.flush();
  await source.hear(({ shuts }) => shuts.length > 0);
  return { bytes: memory.bytes, requests };
}

const goOn = Promise.withResolvers<void>();
scope.onmessage = ({ data }) => {
  if (data === "go on") return goOn.resolve();
  send(data, goOn.promise).then((sent) => {
    scope.postMessage(sent);
    self.close();
  });
};
