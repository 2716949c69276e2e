/** Pages of machine code: bytes in the distribution of compiled x86-64 code. */

import type { ContentRandom } from "./guest_random.ts";

/** Bytes that the writer may write behind a page: its last instruction is cut at the page's end. */
export const CODE_OVERRUN = 32;

// What stands for bytes that differ from one instruction to the next.
/** A ModRM byte for two registers. */
const REGISTERS = -1;
/** A ModRM byte for a register and memory at a register with a displacement of a byte. */
const MEMORY = -2;
/** A displacement of a byte, mostly a small multiple of 8. */
const DISPLACEMENT = -3;
/** A small number in a byte. */
const SMALL = -4;
/** The distance of a jump, a byte. */
const NEAR = -5;
/** The distance of a call or of data, four bytes of which the last is 0 or 0xff. */
const FAR = -6;
/** A small number in four bytes. */
const NUMBER = -7;

/** Instructions and how often they occur, after counts of compiled C: moves, calls, jumps first. */
const INSTRUCTIONS: readonly (readonly [share: number, ...bytes: number[]])[] = [
  [30, 0x48, 0x89, REGISTERS], // mov r64, r64
  [22, 0x48, 0x8b, MEMORY, DISPLACEMENT], // mov r64, [r64 + d8]
  [12, 0x48, 0x8b, 0x44, 0x24, DISPLACEMENT], // mov rax, [rsp + d8]
  [10, 0x48, 0x89, MEMORY, DISPLACEMENT], // mov [r64 + d8], r64
  [12, 0x8b, MEMORY, DISPLACEMENT], // mov r32, [r64 + d8]
  [10, 0x89, REGISTERS], // mov r32, r32
  [24, 0xe8, FAR], // call
  [10, 0x48, 0x8d, 0x3d, FAR], // lea rdi, [rip + d32]
  [8, 0x48, 0x8b, 0x05, FAR], // mov rax, [rip + d32]
  [8, 0x48, 0x8d, MEMORY, DISPLACEMENT], // lea r64, [r64 + d8]
  [14, 0x74, NEAR], // je
  [12, 0x75, NEAR], // jne
  [8, 0x0f, 0x84, FAR], // je, far
  [6, 0x0f, 0x85, FAR], // jne, far
  [7, 0xeb, NEAR], // jmp
  [4, 0xe9, FAR], // jmp, far
  [10, 0x85, 0xc0], // test eax, eax
  [10, 0x48, 0x85, REGISTERS], // test r64, r64
  [8, 0x48, 0x83, 0xf8, SMALL], // cmp rax, i8
  [6, 0x83, MEMORY, DISPLACEMENT, SMALL], // cmp [r64 + d8], i8
  [6, 0x39, REGISTERS], // cmp r32, r32
  [8, 0x31, 0xc0], // xor eax, eax
  [6, 0x48, 0x83, 0xc4, DISPLACEMENT], // add rsp, i8
  [5, 0xbf, NUMBER], // mov edi, i32
  [5, 0xbe, NUMBER], // mov esi, i32
  [4, 0x0f, 0xb6, MEMORY, DISPLACEMENT], // movzx r32, [r64 + d8]
  [4, 0x4c, 0x89, REGISTERS], // mov r64, r8 to r15
  [4, 0x49, 0x89, REGISTERS], // mov r8 to r15, r64
  [4, 0x41, 0xff, MEMORY, DISPLACEMENT], // call or jmp through memory
  [3, 0xf3, 0x0f, 0x10, MEMORY, DISPLACEMENT], // movss
  [4, 0xc1, REGISTERS, SMALL], // shift
  // The end of a function, and the beginning of the next.
  [6, 0x5b, 0x5d, 0x41, 0x5c, 0xc3, 0x0f, 0x1f, 0x80, 0, 0, 0, 0, 0xf3, 0x0f, 0x1e, 0xfa, 0x55],
  [4, 0xc3, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0, 0x41, 0x57, 0x41, 0x56, 0x53],
];

// In one array each, so that taking an instruction makes no object.
const BYTES = Int16Array.from(INSTRUCTIONS.flatMap(([, ...bytes]) => bytes));
const STARTS = new Uint16Array(INSTRUCTIONS.length + 1);
INSTRUCTIONS.forEach(([, ...bytes], index) => STARTS[index + 1] = STARTS[index]! + bytes.length);
const BY_SHARE = Uint8Array.from(
  INSTRUCTIONS.flatMap(([share], index) => new Array<number>(share).fill(index)),
);

// The first ones are the most frequent: registers that pass arguments and results.
const REGISTER_PAIRS = Uint8Array.from(
  [0xc7, 0xd8, 0xc3, 0xe5, 0xfd, 0xf8, 0xc2, 0xd0, 0xf5, 0xde, 0xef, 0xe6, 0xc6, 0xfb, 0xd7, 0xca],
);
const MEMORY_BASES = Uint8Array.from(
  [0x45, 0x43, 0x47, 0x7b, 0x40, 0x55, 0x78, 0x53, 0x73, 0x6b, 0x57, 0x46, 0x75, 0x50, 0x5d, 0x70],
);

/** Chooses from 16 with the first ones the most frequent. */
function frequent(number: number): number {
  return ((number & 15) * ((number >>> 4) & 15)) >>> 4;
}

/**
 * Writes a page of code.
 *
 * @param random at the page's beginning
 * @param into room for a page and {@linkcode CODE_OVERRUN} bytes, from its start
 */
export function writeCode(random: ContentRandom, into: Uint8Array): void {
  let at = 0;
  while (at < 4096) {
    const choice = random.next();
    const index = BY_SHARE[((choice >>> 16) * BY_SHARE.length) >>> 16]!;
    const end = STARTS[index + 1]!;
    let bits = random.next();
    for (let from = STARTS[index]!; from < end; from++) {
      const byte = BYTES[from]!;
      switch (byte) {
        case REGISTERS:
          into[at++] = REGISTER_PAIRS[frequent(choice)]!;
          break;
        case MEMORY:
          into[at++] = MEMORY_BASES[frequent(choice >>> 4)]!;
          break;
        case DISPLACEMENT:
          into[at++] = (frequent(bits) << 3) + ((bits & 0x0700_0000) === 0 ? 4 : 0);
          bits >>>= 8;
          break;
        case SMALL:
          into[at++] = frequent(bits);
          bits >>>= 8;
          break;
        case NEAR:
          into[at++] = frequent(bits) * 5 + ((bits >>> 8) & 7);
          break;
        case FAR: {
          // Many calls go to few functions.
          const distance = (bits & 7) === 0 ? bits << 8 >> 12 : -(frequent(bits >>> 4) << 7);
          into[at++] = distance;
          into[at++] = distance >>> 8;
          into[at++] = distance >>> 16;
          into[at++] = distance >>> 24;
          break;
        }
        case NUMBER:
          into[at++] = frequent(bits);
          into[at++] = (bits & 0x300) === 0 ? frequent(bits >>> 12) : 0;
          into[at++] = 0;
          into[at++] = 0;
          break;
        default:
          into[at++] = byte;
      }
    }
  }
}
