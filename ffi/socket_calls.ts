/** Calls on a socket by its descriptor, without waiting. */

import { errno, libc } from "./libc.ts";
import { SyscallError } from "./errno.ts";

// From include/linux/net.h, include/linux/socket.h, include/uapi/asm-generic/socket.h and
// include/uapi/linux/{in,tcp}.h.
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const IPPROTO_TCP = 6;
const TCP_MAXSEG = 2;
/** SIOCOUTQ, from include/uapi/linux/sockios.h. */
const SIOCOUTQ = 0x5411;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const SHUT_WR = 1;
const SHUT_RDWR = 2;

/** Socket options that a caller of {@linkcode setOption} names: level and name. */
export const SocketOption = {
  REUSE_ADDRESS: [SOL_SOCKET, 2],
  SEND_BUFFER: [SOL_SOCKET, 7],
  RECEIVE_BUFFER: [SOL_SOCKET, 8],
  NO_DELAY: [IPPROTO_TCP, 1],
  NOT_SENT_LOW_WATER: [IPPROTO_TCP, 25],
} as const;

// Made once: this is set for every page that is asked for.
const QUICK_ACK = [IPPROTO_TCP, 12] as const;

const optionValue = new Uint8Array(4);
const optionWord = new Int32Array(optionValue.buffer);
const optionLength = new Uint8Array(new Uint32Array([4]).buffer);

/** Sets a socket option; false when this kind of socket does not know it. */
export function setOption(fd: number, option: readonly [number, number], value: number): boolean {
  optionWord[0] = value;
  return libc().setsockopt(fd, option[0], option[1], optionValue, 4) === 0;
}

/**
 * Makes the kernel acknowledge what was received at once. It forgets the wish, so it must be said
 * again after each read; then a peer without TCP_NODELAY (stock QEMU) is not held back by Nagle.
 * Does nothing on a unix socket.
 */
export function setQuickAck(fd: number): void {
  setOption(fd, QUICK_ACK, 1);
}

/**
 * Receives what is there, without waiting.
 *
 * @param fd a socket
 * @param address where to put the bytes; the caller owns that memory
 * @param length at most this many bytes
 * @returns bytes received, 0 at the end of the stream, or the negated errno (`-EAGAIN`: nothing there)
 */
export function receive(fd: number, address: bigint, length: number): number {
  const count = libc().recvAddress(fd, address, length, MSG_DONTWAIT);
  return count >= 0 ? count : -errno();
}

/** {@linkcode receive} into a buffer. */
export function receiveInto(fd: number, buffer: Uint8Array, length: number): number {
  const count = libc().recv(fd, buffer, length, MSG_DONTWAIT);
  return count >= 0 ? count : -errno();
}

/**
 * Sends from a buffer what the kernel takes now.
 *
 * @returns bytes taken, or the negated errno (`-EAGAIN`: the socket is full)
 */
export function sendFrom(fd: number, buffer: Uint8Array, length: number): number {
  const count = libc().send(fd, buffer, length, MSG_DONTWAIT | MSG_NOSIGNAL);
  return count >= 0 ? count : -errno();
}

/** Returns the bytes that were sent and that the peer's kernel has not acknowledged. */
export function unacknowledged(fd: number): number {
  return libc().ioctl(fd, SIOCOUTQ, optionValue) === 0 ? optionWord[0]! : 0;
}

/** Returns the bytes of a full TCP segment of this connection; 64 KiB where there is no such thing. */
export function segmentBytes(fd: number): number {
  const known = libc().getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, optionValue, optionLength) === 0;
  return known ? optionWord[0]! : 65_536;
}

/**
 * Accepts a connection that waits, without waiting for one.
 *
 * @param fd a listening socket
 * @returns the connection's descriptor, the caller's to close; or the negated errno (`-EAGAIN`: none)
 */
export function acceptFrom(fd: number): number {
  const accepted = libc().accept4(fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
  return accepted >= 0 ? accepted : -errno();
}

/** Ends both directions of a connection, or the listening, of a descriptor owned elsewhere. */
export function shutdownSocket(fd: number): void {
  libc().shutdown(fd, SHUT_RDWR);
}

/** Ends this direction of a socket by its descriptor; what the other end says can still be read. */
export function shutdownSending(fd: number): void {
  libc().shutdown(fd, SHUT_WR);
}

/** Closes a descriptor from {@linkcode acceptFrom}. */
export function closeSocket(fd: number): void {
  libc().close(fd);
}

/** Opens a non-blocking stream socket of an address family. */
export function openSocket(family: number): number {
  const fd = libc().socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new SyscallError("socket", errno());
  return fd;
}

/** Returns why a connection attempt that has ended failed, as an errno; 0 when it did not. */
export function takeConnectError(fd: number): number {
  libc().getsockopt(fd, SOL_SOCKET, SO_ERROR, optionValue, optionLength);
  return optionWord[0]!;
}
