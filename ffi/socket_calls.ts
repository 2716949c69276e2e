/** Calls on a socket by its descriptor, without waiting. */

import { errno, libc } from "./libc.ts";
import { SyscallError } from "./errno.ts";

// From include/linux/net.h, include/linux/socket.h, include/uapi/asm-generic/socket.h and
// include/uapi/linux/{in,tcp}.h.
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const IPPROTO_TCP = 6;
/** SIOCOUTQ, from include/uapi/linux/sockios.h. */
const SIOCOUTQ = 0x5411;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const SHUT_RD = 0;
const SHUT_WR = 1;
const SHUT_RDWR = 2;

/** Socket options that a caller of {@linkcode setOption} names: level and name. */
export const SocketOption = {
  REUSE_ADDRESS: [SOL_SOCKET, 2],
  SEND_BUFFER: [SOL_SOCKET, 7],
  RECEIVE_BUFFER: [SOL_SOCKET, 8],
  KEEP_ALIVE: [SOL_SOCKET, 9],
  SEND_BUFFER_FORCE: [SOL_SOCKET, 32],
  NO_DELAY: [IPPROTO_TCP, 1],
  KEEP_IDLE: [IPPROTO_TCP, 4],
  KEEP_INTERVAL: [IPPROTO_TCP, 5],
  KEEP_COUNT: [IPPROTO_TCP, 6],
  USER_TIMEOUT: [IPPROTO_TCP, 18],
  NOT_SENT_LOW_WATER: [IPPROTO_TCP, 25],
  UPPER_LAYER: [IPPROTO_TCP, 31],
} as const;

// Made once: this is set for every page that is asked for.
const QUICK_ACK = [IPPROTO_TCP, 12] as const;
const PENDING_ERROR = [SOL_SOCKET, 4] as const;
const MAX_SEGMENT = [IPPROTO_TCP, 2] as const;
const TCP_INFO = 11;
// tcpi_min_rtt in struct tcp_info, microseconds, ~0 while unknown; Linux 4.6.
const MIN_RTT_AT = 148;
const UNKNOWN = 0xffff_ffff;

const optionValue = new Uint8Array(4);
const optionWord = new Int32Array(optionValue.buffer);
const optionLength = new Uint8Array(new Uint32Array([4]).buffer);
const infoWords = new Uint32Array(MIN_RTT_AT / 4 + 1);
const infoBytes = new Uint8Array(infoWords.buffer);
const infoSize = new Uint32Array(1);
const infoSizeBytes = new Uint8Array(infoSize.buffer);

/** Sets a socket option; false when this kind of socket does not know it. */
export function setOption(fd: number, option: readonly [number, number], value: number): boolean {
  optionWord[0] = value;
  return libc().setsockopt(fd, option[0], option[1], optionValue, 4) === 0;
}

/** Sets a socket option whose value is a name; returns 0, or the errno. */
export function setName(fd: number, option: readonly [number, number], name: string): number {
  const bytes = new TextEncoder().encode(name);
  return libc().setsockopt(fd, option[0], option[1], bytes, bytes.length) === 0 ? 0 : errno();
}

/** Returns the value of a socket option; undefined when this kind of socket does not know it. */
export function getOption(fd: number, option: readonly [number, number]): number | undefined {
  const known = libc().getsockopt(fd, option[0], option[1], optionValue, optionLength) === 0;
  return known ? optionWord[0]! : undefined;
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

/**
 * Returns the shortest time from sending to the acknowledgement that a TCP connection has seen of late, in
 * nanoseconds; 0 where there is no such thing, or nothing is known yet.
 */
export function roundTrip(fd: number): number {
  infoSize[0] = infoBytes.length;
  const told = libc().getsockopt(fd, IPPROTO_TCP, TCP_INFO, infoBytes, infoSizeBytes) === 0;
  const microseconds = infoWords[MIN_RTT_AT / 4]!;
  if (!told || infoSize[0]! < infoBytes.length || microseconds === UNKNOWN) return 0;
  return microseconds * 1000;
}

/** Returns the bytes of a full TCP segment of this connection; 64 KiB where there is no such thing. */
export function segmentBytes(fd: number): number {
  return getOption(fd, MAX_SEGMENT) ?? 65_536;
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

/** Ends the other direction of a socket by its descriptor: whoever polls it wakes, and finds the end. */
export function shutdownReceiving(fd: number): void {
  libc().shutdown(fd, SHUT_RD);
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
  return getOption(fd, PENDING_ERROR) ?? 0;
}
