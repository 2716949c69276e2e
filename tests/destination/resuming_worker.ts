/** Worker entry: a source that resumes, sends every page that is missing, and ends. */

import type { SocketAddress } from "../../ffi/socket_address.ts";
import { HostileSource } from "../hostile/scripted_source.ts";

/** Where the destination listens, and the blocks. */
export interface Resuming {
  readonly to: SocketAddress;
  readonly blocks: Readonly<Record<string, number>>;
}

const scope = self as unknown as {
  onmessage: (event: MessageEvent<Resuming>) => void;
  postMessage(requests: number[]): void;
};
scope.onmessage = async ({ data: { to, blocks } }) => {
  using source = new HostileSource(to, blocks);
  await source.connect();
  source.encodeRecovery();
  await source.flush();
  await source.hear((_, { bitmaps }) => bitmaps.size === Object.keys(blocks).length);
  source.stream.command({ kind: "resume" });
  await source.flush();
  await source.hear(({ requests }) => requests.length > 0);
  source.encodePages(source.missing());
  source.encodeEnd();
  await source.flush();
  await source.hear(({ shuts }) => shuts.length > 0);
  scope.postMessage(source.heard.requests.map(({ start }) => start / 4096));
};
