/**
 * The machine code of the guest that writes at a given rate; see assembler.ts for how the tables
 * read. It sleeps until the timer ticks, writes one word of so many pages, and sleeps again, so that
 * its processor is as idle as its rate allows.
 *
 * @module
 */
import { at, call, near, type Row, word } from "./assembler.ts";
import {
  FILL_WORDS,
  INCREMENT,
  MULTIPLIER,
  PROTECTED_MODE,
  SEGMENTS,
  SERIAL,
  timerInterrupts,
  WORKING_SET_ADDRESS,
} from "./bare_machine.ts";

/** Power-of-two bins of the latency histogram: bin n counts writes of [2^n, 2^(n+1)) TSC ticks. */
export const WRITE_BINS = 32;

/** The first bin of slow writes: 2^15 ticks are 8 us at 4 GHz, more than memory in place takes. */
export const SLOW_BIN = 15;

/** The words (u32) of the record that the guest prints, by index: all since the print before. */
export const WRITER_RECORD = {
  /** Timer ticks. */
  ticks: 0,
  /** Pages written. */
  writes: 1,
  /** Its time-stamp counter now. */
  tscHigh: 2,
  tscLow: 3,
  /** Most TSC ticks between two timer ticks. */
  longest: 4,
  /** TSC ticks of all slow writes together. */
  slowHigh: 5,
  slowLow: 6,
  histogram: 7,
} as const;

/** Words of the record. */
export const WRITER_RECORD_WORDS = WRITER_RECORD.histogram + WRITE_BINS;

const RECORD_ADDRESS = 0x6000;
const LAST_TICK = RECORD_ADDRESS + 0x100;
const UNTIL_REPORT = RECORD_ADDRESS + 0x104;
/** Grows down, to what lies above. */
const STACK_TOP = RECORD_ADDRESS + 0x1000;
/** Interrupt descriptors 0 to 8: the BIOS left timer interrupts at 8. */
const IDT = STACK_TOP;
const TIMER_GATE = IDT + 8 * 8;

const record = (index: number): number[] => word(RECORD_ADDRESS + 4 * index);

/** A stack, and an empty record. */
const BEGIN: readonly Row[] = [
  ["", [0xbc, ...word(STACK_TOP)], "mov esp, STACK_TOP"],
  ["", [0x31, 0xc0], "xor eax, eax"],
  ["", [0xbf, ...word(RECORD_ADDRESS)], "mov edi, RECORD_ADDRESS"],
  ["", [0xb9, ...word(0x200 / 4)], "mov ecx: words of the record and the variables behind it"],
  ["", [0xf3, 0xab], "rep stosd"],
];

/** Fills memory with numbers that no two pages share. */
const FILL: readonly Row[] = [
  ["", [0xbf, ...word(WORKING_SET_ADDRESS)], "mov edi, WORKING_SET_ADDRESS"],
  ["", [0x8b, 0x15, at("pages")], "mov edx, [pages]"],
  ["fillPage", [0xb9, ...word(1024)], "mov ecx, 1024"],
  ...FILL_WORDS,
];

const TIMER: readonly Row[] = [
  ...timerInterrupts(TIMER_GATE),
  ["", [0xa1, at("divisor")], "mov eax, [divisor]"],
  ["", [0xe6, 0x40], "out 0x40, al"],
  ["", [0x88, 0xe0, 0xe6, 0x40], "mov al, ah; out 0x40, al"],
  ["", [0xa1, at("reportEvery")], "mov eax, [reportEvery]"],
  ["", [0xa3, ...word(UNTIL_REPORT)], "mov [untilReport], eax"],
  ["", [0x0f, 0x31], "rdtsc"],
  ["", [0xa3, ...word(LAST_TICK)], "mov [lastTick], eax"],
];

/** One tick: some pages, chosen with replacement by the high bits of a congruential generator. */
const TICK: readonly Row[] = [
  ["rest", [0xfb, 0xf4, 0xfa], "sti; hlt; cli"],
  ["", [0x0f, 0x31], "rdtsc"],
  ["", [0x89, 0xc1], "mov ecx, eax"],
  ["", [0x2b, 0x05, ...word(LAST_TICK)], "sub eax, [lastTick]"],
  ["", [0x89, 0x0d, ...word(LAST_TICK)], "mov [lastTick], ecx"],
  ["", [0x3b, 0x05, ...record(WRITER_RECORD.longest)], "cmp eax, [longest]"],
  ["", [0x76, 0x05], "jbe over the mov"],
  ["", [0xa3, ...record(WRITER_RECORD.longest)], "mov [longest], eax"],
  ["", [0xff, 0x05, ...record(WRITER_RECORD.ticks)], "inc dword [ticks]"],
  ["", [0x8b, 0x2d, at("perTick")], "mov ebp, [perTick]"],
  ["", [0x85, 0xed], "test ebp, ebp"],
  ["", [0x74, near("written")], "jz written"],

  ["page", [0x69, 0xdb, ...word(MULTIPLIER)], "imul ebx, MULTIPLIER"],
  ["", [0x81, 0xc3, ...word(INCREMENT)], "add ebx, INCREMENT"],
  ["", [0x89, 0xd8], "mov eax, ebx"],
  ["", [0xf7, 0x25, at("pages")], "mul dword [pages]: edx = ebx * pages / 2^32"],
  ["", [0x89, 0xd7], "mov edi, edx"],
  ["", [0xc1, 0xe7, 0x0c], "shl edi, 12"],
  ["", [0x81, 0xc7, ...word(WORKING_SET_ADDRESS)], "add edi, WORKING_SET_ADDRESS"],
  ["", [0x0f, 0x31], "rdtsc"],
  ["", [0x52], "push edx"],
  ["", [0x50], "push eax"],
  ["", [0xff, 0x07], "inc dword [edi]: the write"],
  ["", [0x0f, 0x31], "rdtsc"],
  ["", [0x59], "pop ecx"],
  ["", [0x29, 0xc8], "sub eax, ecx"],
  ["", [0x59], "pop ecx"],
  ["", [0x19, 0xca], "sbb edx, ecx: edx:eax = ticks"],
  ["", [0xf7, 0xda], "neg edx: carry when over 32 bits of ticks"],
  ["", [0x19, 0xd2], "sbb edx, edx"],
  ["", [0x09, 0xd0], "or eax, edx: those count in the last bin"],
  ["", [0x0c, 0x01], "or al, 1: bsr is undefined for 0"],
  ["", [0x0f, 0xbd, 0xc8], "bsr ecx, eax"],
  ["", [0xff, 0x04, 0x8d, ...record(WRITER_RECORD.histogram)], "inc dword [histogram + 4 * ecx]"],
  ["", [0x80, 0xf9, SLOW_BIN], "cmp cl, SLOW_BIN"],
  ["", [0x72, 0x0d], "jb over both"],
  ["", [0x01, 0x05, ...record(WRITER_RECORD.slowLow)], "add [slowLow], eax"],
  ["", [0x83, 0x15, ...record(WRITER_RECORD.slowHigh), 0x00], "adc dword [slowHigh], 0"],
  ["", [0xff, 0x05, ...record(WRITER_RECORD.writes)], "inc dword [writes]"],
  ["", [0x4d], "dec ebp"],
  ["", [0x75, near("page")], "jnz page"],
];

/** Every so many ticks one line with the record's words, in hexadecimal. */
const REPORT: readonly Row[] = [
  ["written", [0xff, 0x0d, ...word(UNTIL_REPORT)], "dec dword [untilReport]"],
  ["", [0x0f, 0x85, call("rest")], "jnz rest"],
  ["", [0xa1, at("reportEvery")], "mov eax, [reportEvery]"],
  ["", [0xa3, ...word(UNTIL_REPORT)], "mov [untilReport], eax"],
  ["", [0x0f, 0x31], "rdtsc"],
  ["", [0x89, 0x15, ...record(WRITER_RECORD.tscHigh)], "mov [tscHigh], edx"],
  ["", [0xa3, ...record(WRITER_RECORD.tscLow)], "mov [tscLow], eax"],
  ["", [0xbe, at("line")], "mov esi, line"],
  ["", [0xe8, call("print")], "call print"],
  ["", [0xbe, ...word(RECORD_ADDRESS)], "mov esi, RECORD_ADDRESS"],
  ["", [0x6a, WRITER_RECORD_WORDS, 0x5f], "push WRITER_RECORD_WORDS; pop edi"],
  ["report", [0xb0, 0x20], "mov al, ' '"],
  ["", [0xe8, call("put")], "call put"],
  ["", [0xad], "lodsd"],
  ["", [0xe8, call("hex")], "call hex"],
  ["", [0x4f], "dec edi"],
  ["", [0x75, near("report")], "jnz report"],
  ["", [0xb0, 0x0a], "mov al, '\\n'"],
  ["", [0xe8, call("put")], "call put"],
  ["", [0xbf, ...word(RECORD_ADDRESS)], "mov edi, RECORD_ADDRESS"],
  ["", [0x6a, WRITER_RECORD_WORDS, 0x59], "push WRITER_RECORD_WORDS; pop ecx"],
  ["", [0x31, 0xc0], "xor eax, eax"],
  ["", [0xf3, 0xab], "rep stosd: forget what was reported"],
  ["", [0xe9, call("rest")], "jmp rest"],

  ["ticked", [0x50], "push eax: a timer interrupt"],
  ["", [0xb0, 0x20, 0xe6, 0x20], "out 0x20, 0x20: end of interrupt"],
  ["", [0x58], "pop eax"],
  ["", [0xcf], "iret"],
];

/** Strings, and the parameters that writer_guest.ts fills in. */
const DATA: readonly Row[] = [
  ["line", [...new TextEncoder().encode("w\0")], "text before a record"],
  ["idtr", [0x47, 0x00, ...word(IDT)], "limit, address"],
  ["pages", word(0), "pages of the working set"],
  ["divisor", word(0), "of the timer's 1193182 Hz"],
  ["perTick", word(0), "pages written in a tick"],
  ["reportEvery", word(0), "ticks between two lines"],
];

/**
 * The whole program, in the order of its bytes.
 *
 * @param fills whether it fills its memory first; else it writes to what is there
 */
export const writerCode = (fills: boolean): readonly Row[] => [
  ...PROTECTED_MODE,
  ...BEGIN,
  ...fills ? FILL : [],
  ...TIMER,
  ...TICK,
  ...REPORT,
  ...SERIAL,
  ...DATA,
  ...SEGMENTS,
];
