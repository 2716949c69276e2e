/**
 * The machine code of the guest that works as fast as it can; see qemu/assembler.ts for how the
 * tables read. It touches one page after the other, and a timer has it say now and then how many.
 *
 * @module
 */

import { at, call, near, type Row, word } from "../../qemu/assembler.ts";
import {
  FILL_WORDS,
  PROTECTED_MODE,
  SEGMENTS,
  SERIAL,
  timerInterrupts,
  WORKING_SET_ADDRESS,
} from "../../qemu/bare_machine.ts";

/** Pages in a row that are hot together; a power of two. */
export const HOT_RUN = 16;
const HOT_RUN_BITS = Math.log2(HOT_RUN);

/** Of the timer's 1193182 Hz: 20 ticks a second. */
const DIVISOR = 59659;
/** A line every 100 ms. */
const TICKS_OF_LINE = 2;

/** What changes all the time lies apart from the code, or TCG would translate that again and again. */
const WORK = 0x6000;
const TICKS = WORK + 4;
const STACK_TOP = WORK + 0x1000;
/** Interrupt descriptors 0 to 8: the BIOS left timer interrupts at 8. */
const IDT = STACK_TOP;
const TIMER_GATE = IDT + 8 * 8;

/** Fills memory: no two pages are alike, and the first word of each is its address. */
const FILL: readonly Row[] = [
  ["", [0xbc, ...word(STACK_TOP)], "mov esp, STACK_TOP"],
  ["", [0xc7, 0x05, ...word(WORK), ...word(0)], "mov dword [work], 0"],
  ["", [0xc7, 0x05, ...word(TICKS), ...word(0)], "mov dword [ticks], 0"],
  ["", [0xbf, ...word(WORKING_SET_ADDRESS)], "mov edi, WORKING_SET_ADDRESS"],
  ["", [0x8b, 0x15, at("pages")], "mov edx, [pages]"],
  ["fillPage", [0x89, 0xf8], "mov eax, edi"],
  ["", [0xab], "stosd"],
  ["", [0xb9, ...word(1023)], "mov ecx, 1023"],
  ...FILL_WORDS,
];

const TIMER: readonly Row[] = [
  ...timerInterrupts(TIMER_GATE),
  ["", [0xb0, DIVISOR & 255, 0xe6, 0x40], "out 0x40, low byte"],
  ["", [0xb0, DIVISOR >> 8, 0xe6, 0x40], "out 0x40, high byte"],
  ["", [0xfb], "sti"],
];

/**
 * One access. A number from a congruential generator, as a share of 2^32, is mapped onto the pages:
 * what is below the threshold onto hot ones, the rest onto all.
 */
const ACCESS: readonly Row[] = [
  ["next", [0x0f, 0xaf, 0x1d, at("multiplier")], "imul ebx, [multiplier]"],
  ["", [0x03, 0x1d, at("increment")], "add ebx, [increment]"],
  ["", [0x89, 0xd8], "mov eax, ebx"],
  ["", [0x2b, 0x05, at("threshold")], "sub eax, [threshold]"],
  ["", [0x72, near("hot")], "jb hot"],
  ["", [0xf7, 0x25, at("scale")], "mul dword [scale]: edx = page"],
  ["", [0xeb, near("access")], "jmp access"],
  ["hot", [0x89, 0xd8], "mov eax, ebx"],
  ["", [0xf7, 0x25, at("hotScale")], "mul dword [hotScale]: edx = number among the hot pages"],
  ["", [0x89, 0xd1], "mov ecx, edx"],
  ["", [0x83, 0xe1, HOT_RUN - 1], "and ecx, HOT_RUN - 1"],
  ["", [0xc1, 0xea, HOT_RUN_BITS], "shr edx, HOT_RUN_BITS"],
  ["", [0x0f, 0xaf, 0x15, at("hotStep")], "imul edx, [hotStep]"],
  ["", [0x01, 0xca], "add edx, ecx: page"],

  ["access", [0xc1, 0xe2, 0x0c], "shl edx, 12"],
  ["", [0x81, 0xc2, ...word(WORKING_SET_ADDRESS)], "add edx, WORKING_SET_ADDRESS"],
  ["", [0x39, 0x12], "cmp [edx], edx: is it that page?"],
  ["", [0x75, near("wrong")], "jne wrong"],
  ["", [0xff, 0x42, 0x04], "inc dword [edx + 4]"],
  ["", [0x8b, 0x0d, at("pause")], "mov ecx, [pause]"],
  ["", [0xe3, 0x02], "jecxz over the loop"],
  ["", [0xe2, 0xfe], "loop to itself"],
  ["", [0xff, 0x05, ...word(WORK)], "inc dword [work]"],
  ["", [0x83, 0x3d, ...word(TICKS), TICKS_OF_LINE], "cmp dword [ticks], TICKS_OF_LINE"],
  ["", [0x72, near("next")], "jb next"],
];

/** The lines: what was done since the line before. */
const REPORT: readonly Row[] = [
  ["", [0xc7, 0x05, ...word(TICKS), ...word(0)], "mov dword [ticks], 0"],
  ["", [0xbe, at("line")], "mov esi, line"],
  ["", [0xe8, call("print")], "call print"],
  ["", [0xa1, ...word(WORK)], "mov eax, [work]"],
  ["", [0xc7, 0x05, ...word(WORK), ...word(0)], "mov dword [work], 0"],
  ["ended", [0xe8, call("hex")], "call hex"],
  ["", [0xb0, 0x0a], "mov al, '\\n'"],
  ["", [0xe8, call("put")], "call put"],
  ["", [0xe9, call("next")], "jmp next"],

  ["wrong", [0x52], "push edx"],
  ["", [0xbe, at("wrongPage")], "mov esi, wrongPage"],
  ["", [0xe8, call("print")], "call print"],
  ["", [0x58], "pop eax"],
  ["", [0xeb, near("ended")], "jmp ended"],

  ["ticked", [0x50], "push eax: a timer interrupt"],
  ["", [0xff, 0x05, ...word(TICKS)], "inc dword [ticks]"],
  ["", [0xb0, 0x20, 0xe6, 0x20], "out 0x20, 0x20: end of interrupt"],
  ["", [0x58], "pop eax"],
  ["", [0xcf], "iret"],
];

/** Strings, and the parameters that worker_guest.ts fills in. */
const DATA: readonly Row[] = [
  ["line", [...new TextEncoder().encode("w \0")], "text before the work"],
  [
    "wrongPage",
    [...new TextEncoder().encode("WRONG page \0")],
    "text before the address of a wrong page",
  ],
  ["idtr", [0x47, 0x00, ...word(IDT)], "limit, address"],
  ["pages", word(0), "pages of the working set"],
  ["multiplier", word(1), "of the generator"],
  ["increment", word(0), "of the generator"],
  ["threshold", word(0), "numbers below it are for hot pages"],
  ["scale", word(0), "pages that 2^32 numbers are spread over"],
  ["hotScale", word(0), "the same of hot pages"],
  ["hotStep", word(0), "pages from one run of hot ones to the next"],
  ["pause", word(0), "empty loops after an access"],
];

/** The whole program, in the order of its bytes. */
export const WORKER_CODE: readonly Row[] = [
  ...PROTECTED_MODE,
  ...FILL,
  ...TIMER,
  ...ACCESS,
  ...REPORT,
  ...SERIAL,
  ...DATA,
  ...SEGMENTS,
];
