/** The C library: its symbols, opened lazily once per thread, and errno. */

import { requirePlatform } from "./platform.ts";

// Lengths and counts are declared u32 although C says size_t: a 32-bit register write clears the
// upper half on both ABIs, and plain numbers stay on V8's fast call path (11-20 ns instead of
// 200-270 ns for a number passed as u64). Results of ssize_t calls here always fit in i32.
const SYMBOLS = {
  __errno_location: { parameters: [], result: "pointer" },

  // Sockets
  if_nametoindex: { parameters: ["buffer" /* name */], result: "u32" },
  socket: {
    parameters: ["i32", /* domain */ "i32", /* type */ "i32" /* protocol */],
    result: "i32",
  },
  socketpair: {
    parameters: ["i32", /* domain */ "i32", /* type */ "i32", /* protocol */ "buffer" /* int[2] */],
    result: "i32",
  },
  bind: {
    parameters: ["i32", /* fd */ "buffer", /* sockaddr */ "u32" /* length */],
    result: "i32",
  },
  listen: { parameters: ["i32", /* fd */ "i32" /* backlog */], result: "i32" },
  connect: {
    parameters: ["i32", /* fd */ "buffer", /* sockaddr */ "u32" /* length */],
    result: "i32",
  },
  accept4: {
    parameters: ["i32", /* fd */ "buffer", /* sockaddr */ "buffer", /* length */ "i32" /* flags */],
    result: "i32",
  },
  getsockname: {
    parameters: ["i32", /* fd */ "buffer", /* sockaddr */ "buffer" /* length */],
    result: "i32",
  },
  getpeername: {
    parameters: ["i32", /* fd */ "buffer", /* sockaddr */ "buffer" /* length */],
    result: "i32",
  },
  setsockopt: {
    parameters: [
      "i32", /* fd */
      "i32", /* level */
      "i32", /* name */
      "buffer", /* value */
      "u32", /* length */
    ],
    result: "i32",
  },
  getsockopt: {
    parameters: [
      "i32", /* fd */
      "i32", /* level */
      "i32", /* name */
      "buffer", /* value */
      "buffer", /* length */
    ],
    result: "i32",
  },
  shutdown: { parameters: ["i32", /* fd */ "i32" /* how */], result: "i32" },
  recv: {
    parameters: ["i32", /* fd */ "buffer", /* to */ "u32", /* length */ "i32" /* flags */],
    result: "i32",
  },
  recvAddress: {
    name: "recv",
    parameters: ["i32", /* fd */ "u64", /* to */ "u32", /* length */ "i32" /* flags */],
    result: "i32",
  },
  send: {
    parameters: ["i32", /* fd */ "buffer", /* from */ "u32", /* length */ "i32" /* flags */],
    result: "i32",
  },
  sendmsg: {
    parameters: ["i32", /* fd */ "buffer", /* msghdr */ "i32" /* flags */],
    result: "i32",
  },
  recvmsg: {
    parameters: ["i32", /* fd */ "buffer", /* msghdr */ "i32" /* flags */],
    result: "i32",
  },

  // Files and descriptors
  open: { parameters: ["buffer", /* path */ "i32", /* flags */ "u32" /* mode */], result: "i32" },
  close: { parameters: ["i32" /* fd */], result: "i32" },
  unlink: { parameters: ["buffer" /* path */], result: "i32" },
  link: { parameters: ["buffer", /* from */ "buffer" /* to */], result: "i32" },
  rename: { parameters: ["buffer", /* from */ "buffer" /* to */], result: "i32" },
  access: { parameters: ["buffer", /* path */ "i32" /* mode */], result: "i32" },
  fsync: { parameters: ["i32" /* fd */], result: "i32" },
  flock: { parameters: ["i32", /* fd */ "i32" /* operation */], result: "i32" },
  pread: {
    parameters: ["i32", /* fd */ "buffer", /* to */ "u32", /* length */ "i64" /* offset */],
    result: "i32",
  },
  pwrite: {
    parameters: ["i32", /* fd */ "buffer", /* from */ "u32", /* length */ "i64" /* offset */],
    result: "i32",
  },
  pwritev: {
    parameters: ["i32", /* fd */ "u64", /* iovec[] */ "i32", /* count */ "i64" /* offset */],
    result: "i32",
  },
  read: { parameters: ["i32", /* fd */ "buffer", /* to */ "u32" /* length */], result: "i32" },
  write: { parameters: ["i32", /* fd */ "buffer", /* from */ "u32" /* length */], result: "i32" },
  fcntl: { parameters: ["i32", /* fd */ "i32", /* command */ "i32" /* argument */], result: "i32" },
  pipe2: { parameters: ["buffer", /* int[2] */ "i32" /* flags */], result: "i32" },
  poll: {
    parameters: ["buffer", /* pollfd[] */ "u64", /* count */ "i32" /* milliseconds */],
    result: "i32",
  },
  pollAsync: {
    name: "poll",
    parameters: ["buffer", /* pollfd[] */ "u64", /* count */ "i32" /* milliseconds */],
    result: "i32",
    nonblocking: true,
  },
  epoll_create1: { parameters: ["i32" /* flags */], result: "i32" },
  epoll_ctl: {
    parameters: [
      "i32", /* epoll fd */
      "i32", /* operation */
      "i32", /* fd */
      "buffer", /* epoll_event */
    ],
    result: "i32",
  },
  epoll_wait: {
    parameters: [
      "i32",
      /* fd */ "buffer",
      /* events */ "i32",
      /* count */ "i32", /* milliseconds */
    ],
    result: "i32",
  },
  epollWaitAsync: {
    name: "epoll_wait",
    parameters: [
      "i32",
      /* fd */ "buffer",
      /* events */ "i32",
      /* count */ "i32", /* milliseconds */
    ],
    result: "i32",
    nonblocking: true,
  },
  // By its number: the function came with glibc 2.35, the call with Linux 5.11.
  epoll_pwait2: {
    name: "syscall",
    parameters: [
      "i64", /* number */
      "i32", /* fd */
      "buffer", /* events */
      "i32", /* count */
      "buffer", /* timespec */
      "buffer", /* signal mask, null for none */
      "u64", /* bytes of that */
    ],
    result: "i64",
  },
  ppoll: {
    parameters: [
      "buffer", /* pollfd[] */
      "u64", /* count */
      "buffer", /* timespec */
      "buffer", /* signal mask, null for none */
    ],
    result: "i32",
  },
  eventfd: { parameters: ["u32", /* initial value */ "i32" /* flags */], result: "i32" },
  lseek: {
    parameters: ["i32", /* fd */ "i64", /* offset */ "i32" /* whence */],
    result: "i64",
  },
  ftruncate: { parameters: ["i32", /* fd */ "i64" /* length */], result: "i32" },
  statx: {
    parameters: [
      "i32", /* fd */
      "buffer", /* path */
      "i32", /* flags */
      "u32", /* mask */
      "buffer", /* statx */
    ],
    result: "i32",
  },

  // Memory
  mmap: {
    parameters: [
      "u64", /* address */
      "u64", /* length */
      "i32", /* protection */
      "i32", /* flags */
      "i32", /* fd */
      "i64", /* offset */
    ],
    result: "u64",
  },
  munmap: { parameters: ["u64", /* address */ "u64" /* length */], result: "i32" },
  madvise: {
    parameters: ["u64", /* address */ "u64", /* length */ "i32" /* advice */],
    result: "i32",
  },
  // Runs on a thread of Deno's, whether or not anybody ever awaits its promise.
  madviseAsync: {
    name: "madvise",
    parameters: ["u64", /* address */ "u64", /* length */ "i32" /* advice */],
    result: "i32",
    nonblocking: true,
  },
  mincore: {
    parameters: ["u64", /* address */ "u32", /* length */ "buffer" /* a byte a page */],
    result: "i32",
  },
  // glibc has no wrapper before 2.36: by its number, with all of its five arguments.
  process_madvise: {
    name: "syscall",
    parameters: [
      "i64", /* number */
      "i64", /* pidfd */
      "buffer", /* iovec[] */
      "u64", /* count */
      "i64", /* advice */
      "i64", /* flags */
    ],
    result: "i64",
  },
  process_vm_writev: {
    parameters: [
      "i32", /* pid */
      "u64", /* iovec[] here */
      "u64", /* count */
      "buffer", /* iovec[] there */
      "u64", /* count */
      "u64", /* flags */
    ],
    result: "i32",
  },
  memfd_create: { parameters: ["buffer", /* name */ "u32" /* flags */], result: "i32" },
  memcpy: { parameters: ["u64", /* to */ "buffer", /* from */ "u32" /* length */], result: "void" },

  // ioctl and syscall are variadic; fixed integer parameters follow the same convention on x86-64
  // and aarch64 Linux (not on macOS).
  ioctl: {
    parameters: ["i32", /* fd */ "u32", /* request */ "buffer" /* argument */],
    result: "i32",
  },
  ioctlNumber: {
    name: "ioctl",
    parameters: ["i32", /* fd */ "u32", /* request */ "u64" /* argument */],
    result: "i32",
  },
  syscall: { parameters: ["i64", /* number */ "i64" /* first argument */], result: "i32" },

  pidfd_open: {
    name: "syscall",
    parameters: ["i64", /* number */ "i64", /* pid */ "i64" /* flags */],
    result: "i32",
  },
  pidfd_send_signal: {
    name: "syscall",
    parameters: [
      "i64", /* number */
      "i64", /* pidfd */
      "i64", /* signal */
      "u64", /* siginfo, 0 for that of kill */
      "i64", /* flags */
    ],
    result: "i32",
  },

  futex: {
    name: "syscall",
    parameters: [
      "i64", /* number */
      "u64", /* address */
      "i32", /* operation */
      "i32", /* value */
      "buffer", /* timespec, null for none */
    ],
    result: "i64",
  },

  getrlimit: { parameters: ["i32", /* resource */ "buffer" /* rlimit */], result: "i32" },
  prctl: {
    parameters: [
      "i32", /* option */
      "u64", /* arguments */
      "u64",
      "u64",
      "u64",
    ],
    result: "i32",
  },

  // Scheduling and time
  setpriority: {
    parameters: ["i32", /* which */ "u32", /* who */ "i32" /* nice */],
    result: "i32",
  },
  getpriority: { parameters: ["i32", /* which */ "u32" /* who */], result: "i32" },
  sched_yield: { parameters: [], result: "i32" },
  sched_setscheduler: {
    parameters: ["i32", /* pid */ "i32", /* policy */ "buffer" /* sched_param */],
    result: "i32",
  },
  // By its number: glibc has it from 2.41 on.
  sched_setattr: {
    name: "syscall",
    parameters: [
      "i64", /* number */
      "i64", /* pid, 0 for the calling thread */
      "buffer", /* sched_attr */
      "u64", /* flags */
    ],
    result: "i32",
  },
  sched_setaffinity: {
    parameters: ["i32", /* pid */ "u32", /* size */ "buffer" /* mask */],
    result: "i32",
  },
  clock_gettime: { parameters: ["i32", /* clock */ "buffer" /* timespec */], result: "i32" },
  sysconf: { parameters: ["i32" /* name */], result: "i64" },
  uname: { parameters: ["buffer" /* utsname */], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The C library as Deno opened it. */
export type Libc = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

let symbols: Libc | undefined;
let errnoView: Deno.UnsafePointerView | undefined;

/**
 * Returns the C library's functions; opens it at the first call in this thread. It stays open for
 * the thread's life, as the C library itself does.
 *
 * @throws {UnsupportedPlatformError} on anything but x86-64 and aarch64 Linux
 */
export function libc(): Libc {
  if (symbols === undefined) {
    requirePlatform();
    symbols = Deno.dlopen("libc.so.6", SYMBOLS).symbols;
    errnoView = new Deno.UnsafePointerView(symbols.__errno_location()!);
  }
  return symbols;
}

/**
 * Returns the errno of the last failed call in this thread. Meaningful only right after a call whose
 * result says that it failed, and never after a nonblocking one, which ran on another thread.
 */
export function errno(): number {
  libc();
  return errnoView!.getInt32(0);
}

/** Encodes a C string with its terminating zero. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${text}\0`);
}
