/** TLS in the kernel: where it has that, what is sent is encrypted there, from where it lies. */

import { Errno } from "../errno.ts";
import { errno, libc } from "../libc.ts";
import { addressOf } from "../memory.ts";
import { setName, SocketOption } from "../socket_calls.ts";
import { openSsl } from "./libssl.ts";

/**
 * Who encrypts what is sent on a session, as it was found out at run time.
 *
 * The kernel does so for the end that sends the pages, the client; what is received is decrypted by the
 * library at either end:
 * - A kernel that has keys keeps them: OpenSSL 3.0 hands it no new ones, and only kernels from 2025 on take
 *   any. A QEMU that sends changes its keys after 2^24 records (GnuTLS 3.7.9, lib/record.c): whoever reads
 *   that, and what comes to a source by the return path, must follow, as the library does.
 * - So this end's keys never change, whatever the other asks for. An answer of the library's would say that
 *   they did, and go out by itself from a read (ossl_statem_client13_write_transition of OpenSSL 3.0): once
 *   the kernel has the keys nothing that the library writes reaches the socket. Neither GnuTLS nor OpenSSL
 *   asks for an answer by itself, nor looks whether one comes. With a peer that asks time and again OpenSSL
 *   3.5 fails the session ("no suitable record layer"); 3.0 goes on.
 * - What is sent goes to the socket and not to SSL_write. That keeps the address of bytes which found no room
 *   and sends from there later (ssl3_write_pending), wherever the same bytes are by then.
 */
export const KernelTls = {
  /** The library does: this end sends little. */
  UNASKED: 0,
  /** The kernel does. */
  SENDS: 1,
  /** The library does: this kernel has no TLS, or its module is not loaded. */
  MISSING: 2,
  /** The library does: kernels have TLS for TCP alone. */
  NOT_TCP: 3,
  /** The library does: it was not built for it, or one of both does not know the cipher. */
  UNFIT: 4,
} as const;
/** One of {@linkcode KernelTls}. */
export type KernelTls = typeof KernelTls[keyof typeof KernelTls];

// From openssl/ssl.h and openssl/bio.h.
const OP_ENABLE_KTLS = 1n << 3n;
const BIO_CTRL_GET_KTLS_SEND = 73;
const BIO_NOCLOSE = 0;
// From include/linux/socket.h and include/uapi/linux/tls.h.
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const SOL_TLS = 282;
const TLS_SET_RECORD_TYPE = 1;
// From RFC 8446, sections 5.1 and 6.
const ALERT = 21;
const WARNING = 1;
const CLOSE_NOTIFY = 0;

/**
 * Says what a kernel's answer means that was asked for TLS on a connection.
 *
 * @param code 0 when the socket is TLS's, for whenever it is given keys; or the errno
 */
export function kernelAnswer(code: number): KernelTls {
  switch (code) {
    case 0:
    case Errno.EEXIST: // was asked before
      return KernelTls.UNFIT; // as long as it has no keys
    case Errno.EOPNOTSUPP:
      return KernelTls.NOT_TCP;
    default:
      return KernelTls.MISSING;
  }
}

/** Who encrypts what is sent, as a part of a sentence. */
export function kernelText(kernel: KernelTls): string {
  switch (kernel) {
    case KernelTls.SENDS:
      return "by the kernel, from where the pages lie";
    case KernelTls.MISSING:
      return "by OpenSSL, as this kernel has no TLS, or has not loaded it (modprobe tls)";
    case KernelTls.NOT_TCP:
      return "by OpenSSL, as the kernel has TLS for TCP alone";
    case KernelTls.UNFIT:
      return "by OpenSSL, as it was built without kernel TLS, or the kernel does not know the cipher";
    case KernelTls.UNASKED:
      return "by OpenSSL";
  }
}

/**
 * Lays a session on its socket, or on the next. What is read comes by another object of the library's than
 * what is written, which is of a kind that knows nothing of kernel TLS.
 *
 * @param session address of the library's object
 * @param fd a connected socket; or -1 for none yet
 * @param sender whether this is the end that sends the pages
 * @returns who is to encrypt what is sent, unless {@linkcode handOver} says else once the handshake is done
 */
export function layOnSocket(session: bigint, fd: number, sender: boolean): KernelTls {
  const library = openSsl();
  library.SSL_set0_rbio(session, library.BIO_new_fd(fd, BIO_NOCLOSE));
  library.SSL_set_wfd(session, fd);
  if (!sender || fd < 0) return KernelTls.UNASKED;
  const answer = kernelAnswer(setName(fd, SocketOption.UPPER_LAYER, "tls"));
  if (answer === KernelTls.UNFIT) library.SSL_set_options(session, OP_ENABLE_KTLS);
  return answer;
}

/**
 * Finds out whether the kernel was given the keys of a session whose handshake is done, to encrypt what is
 * sent. If so nothing that the library writes from then on goes out.
 */
export function handOver(session: bigint): boolean {
  const library = openSsl();
  const bio = library.SSL_get_wbio(session);
  if (library.BIO_ctrl(bio, BIO_CTRL_GET_KTLS_SEND, 0n, 0n) !== 1n) return false;
  library.SSL_set0_wbio(session, library.BIO_new(library.BIO_s_null()));
  return true;
}

/**
 * Says the closing word where the kernel encrypts.
 *
 * @returns 0, or the negated errno: `-EAGAIN` when there is no room for it
 */
export function sayClosingWord(fd: number): number {
  const alert = new Uint8Array([WARNING, CLOSE_NOTIFY]);
  const vector = new BigUint64Array([BigInt(addressOf(alert)), BigInt(alert.length)]);
  const control = new Uint8Array(24); // struct cmsghdr, and one byte, padded
  const words = new Uint32Array(control.buffer);
  [words[0], words[2], words[3], control[16]] = [17, SOL_TLS, TLS_SET_RECORD_TYPE, ALERT];
  const message = new Uint8Array(56); // struct msghdr
  const fields = new BigUint64Array(message.buffer);
  [fields[2], fields[3]] = [BigInt(addressOf(vector)), 1n];
  [fields[4], fields[5]] = [BigInt(addressOf(control)), BigInt(control.length)];
  const sent = libc().sendmsg(fd, message, MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent === alert.length ? 0 : -errno();
}
