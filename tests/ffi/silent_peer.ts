// deno-lint-ignore-file no-console -- a command
/**
 * Child process, in a network namespace of its own: connections whose other end falls silent, or takes
 * nothing. Prints, as JSON, how each of them ended.
 *
 * @module
 */

import { acceptFrom, closeSocket, receiveInto } from "../../ffi/socket_calls.ts";
import { Errno, SyscallError } from "../../ffi/errno.ts";
import { Listener } from "../../ffi/listener.ts";
import { PollEvents } from "../../ffi/poll.ts";
import { Socket } from "../../ffi/socket.ts";
import { waitReady } from "../../ffi/wait_ready.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { within } from "../support/deadline.ts";
import { cutLoopback } from "../support/namespaces.ts";

/** How each connection ended. */
export interface SilentPeerReport {
  readonly takesNothing: string;
  /** Idle for as long, to a peer that reads as little. */
  readonly idleMeanwhile: string;
  readonly idleConnected: string;
  readonly idleAccepted: string;
  readonly acceptedByDescriptor: string;
  readonly unacknowledged: string;
  /** With a stall timeout of an hour. */
  readonly patient: string;
}

/** The shortest that keepalive's whole seconds allow without luck. */
const STALL = 2_000;
const HOUR = 3_600_000;

const listener = await Listener.listen(LOOPBACK, { stallTimeout: STALL });
const patientListener = await Listener.listen(LOOPBACK, { stallTimeout: HOUR });

async function pair(to = listener, stallTimeout = STALL): Promise<[Socket, Socket]> {
  const client = await Socket.connect(to.address, { stallTimeout });
  return [client, await to.accept()];
}

/** How a wait for bytes ends: the error's code, or what came. */
async function ending(socket: Socket): Promise<string> {
  try {
    return `${await socket.receive(new Uint8Array(1))} bytes`;
  } catch (error) {
    if (error instanceof SyscallError) return error.code;
    throw error;
  }
}

/** Sends without end to somebody who reads nothing. */
async function flood(socket: Socket): Promise<string> {
  try {
    while (true) await socket.sendAll(new Uint8Array(65_536));
  } catch (error) {
    if (error instanceof SyscallError) return error.code;
    throw error;
  }
}

async function byDescriptor(fd: number): Promise<string> {
  const buffer = new Uint8Array(1);
  let count = -Errno.EAGAIN as number;
  while (count === -Errno.EAGAIN) {
    await waitReady(fd, PollEvents.IN, "the end", {});
    count = receiveInto(fd, buffer, 1);
  }
  closeSocket(fd);
  return new SyscallError("recv", -count).code;
}

// As a process does that was stopped: its kernel answers.
const [floods, _stopped] = await pair();
const [idle, other] = await pair();
const takesNothing = await within("the end of the flood", flood(floods));
await idle.sendAll(new Uint8Array(1));
const idleMeanwhile = await ending(other);

const [connected, accepted] = await pair();
const [sends, _receives] = await pair();
const [patient, patientAccepted] = await pair(patientListener, HOUR);
const third = await Socket.connect(listener.address, { stallTimeout: HOUR });
await listener.ready();
const descriptor = acceptFrom(listener.fd);
let patientEnd = "goes on";
for (const socket of [patient, patientAccepted]) ending(socket).then((how) => patientEnd = how);
cutLoopback();
await sends.sendAll(new Uint8Array(1));
const ends = await within(
  "the ends",
  Promise.all([
    ending(connected),
    ending(accepted),
    byDescriptor(descriptor),
    ending(sends),
  ]),
);
const report: SilentPeerReport = {
  takesNothing,
  idleMeanwhile,
  idleConnected: ends[0]!,
  idleAccepted: ends[1]!,
  acceptedByDescriptor: ends[2]!,
  unacknowledged: ends[3]!,
  patient: patientEnd,
};
third.close();
console.log(JSON.stringify(report));
Deno.exit();
