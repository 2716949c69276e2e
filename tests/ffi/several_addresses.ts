// deno-lint-ignore-file no-console -- a command
/**
 * Child process, in network and mount namespaces of its own where the name `several.test` has the addresses
 * 127.0.0.2, 192.0.2.1 and 127.0.0.3: what comes of connecting and listening there, as JSON.
 *
 * @module
 */

import { Listener } from "../../ffi/listener.ts";
import { Socket } from "../../ffi/socket.ts";
import { formatSocketAddress, parseSocketAddress } from "../../ffi/socket_address.ts";

/** What it prints. */
export interface SeveralReport {
  /** Why nobody was reached while nobody listened. */
  readonly nobody: string;
  /** Where it was connected to when the last address was listened at. */
  readonly last: string;
  readonly peer: string;
  /** Where it was connected to when a name was listened at whose first address is another host's. */
  readonly own: string;
}

const at = (host: string, port: number) => ({ transport: "tcp", host, port }) as const;

const listener = await Listener.listen(at("127.0.0.3", 0));
const [, port] = /:(\d+)$/.exec(formatSocketAddress(listener.address))!;
const name = parseSocketAddress(`tcp:several.test:${port}`);
const client = await Socket.connect(name);
const last = formatSocketAddress(client.address!);
client.close();
listener.close();
const nobody = await Socket.connect(name).then(() => "connected", (error) => error.message);
const own = await Listener.listen(parseSocketAddress(`tcp:elsewhere.test:${port}`));
const second = await Socket.connect(at("127.0.0.4", Number(port)));
const report: SeveralReport = {
  nobody: nobody.replaceAll(port!, "PORT"),
  last: last.replaceAll(port!, "PORT"),
  peer: client.peer.replaceAll(port!, "PORT"),
  own: formatSocketAddress(second.address!).replaceAll(port!, "PORT"),
};
second.close();
own.close();
console.log(JSON.stringify(report));
