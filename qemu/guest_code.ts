/**
 * The machine code of the test guest; see assembler.ts for how the tables read.
 *
 * @module
 */
import { at, call, near, type Row, word } from "./assembler.ts";
import { PROTECTED_MODE, SEGMENTS, SERIAL } from "./bare_machine.ts";

/** Address of the record that the guest prints after every round (see {@linkcode RECORD}). */
export const RECORD_ADDRESS = 0x6000;

/** The words (u32) of the record, by index: the round number, then the latency part. */
export const RECORD = {
  round: 0,
  tscHigh: 1,
  tscLow: 2,
  sumHigh: 3,
  sumLow: 4,
  histogram: 5,
} as const;

/** Power-of-two bins of the latency histogram: bin n counts accesses of [2^n, 2^(n+1)) TSC ticks. */
export const HISTOGRAM_BINS = 32;

/** Words of a whole record. */
export const RECORD_WORDS = RECORD.histogram + HISTOGRAM_BINS;

/**
 * Variables that change all the time, behind the record; the stack lies above them. They are kept
 * out of the page with the code, because TCG translates a page's code again after writes to it.
 */
const GENERATION = RECORD_ADDRESS + 0x100;
const UNTIL_TICK = RECORD_ADDRESS + 0x104;
const STACK_TOP = RECORD_ADDRESS + 0x1000;

/** Factor that spreads the page number over a page's value (2^32 / golden ratio, odd). */
export const PAGE_FACTOR = 0x9e3779b1;

const record = (index: number): number[] => word(RECORD_ADDRESS + 4 * index);

/** The begin: no page holds anything yet. */
const START: readonly Row[] = [
  ["", [0xbc, ...word(STACK_TOP)], "mov esp, STACK_TOP"],
  ["", [0x31, 0xdb], "xor ebx, ebx: the page number"],
  ["", [0x89, 0x1d, ...record(RECORD.round)], "mov [round], ebx"],
  ["", [0x89, 0x1d, ...word(GENERATION)], "mov [generation], ebx: pages hold nothing yet"],
  ["", [0xa1, at("tick")], "mov eax, [tick]"],
  ["", [0xa3, ...word(UNTIL_TICK)], "mov [untilTick], eax: pages left until the next dot"],
];

/** A round visits every page of the working set once. */
const ROUND: readonly Row[] = [
  ["round", [0xbf, ...record(RECORD.tscHigh)], "mov edi, record + 4"],
  ["", [0xb9, ...word(RECORD_WORDS - 1)], "mov ecx, RECORD_WORDS - 1"],
  ["", [0x31, 0xc0], "xor eax, eax"],
  ["", [0xf3, 0xab], "rep stosd: forget the last round's latencies"],
  ["", [0x8b, 0x2d, at("mask")], "mov ebp, [mask]: pages left in this round, less one"],

  // The next page: a linear congruential step, which visits every page once a round, in order when
  // multiplier and increment are 1.
  ["page", [0x0f, 0xaf, 0x1d, at("multiplier")], "imul ebx, [multiplier]"],
  ["", [0x03, 0x1d, at("increment")], "add ebx, [increment]"],
  ["", [0x23, 0x1d, at("mask")], "and ebx, [mask]"],
  ["", [0x89, 0xdf], "mov edi, ebx"],
  ["", [0xc1, 0xe7, 0x0c], "shl edi, 12"],
  ["", [0x03, 0x3d, at("base")], "add edi, [base]: the page's address"],

  // How long the first touch of the page takes.
  ["", [0x0f, 0x31], "rdtsc"],
  ["", [0x52], "push edx"],
  ["", [0x50], "push eax"],
  ["", [0x8b, 0x07], "mov eax, [edi]: the touch"],
  ["", [0x0f, 0x31], "rdtsc"],
  ["", [0x59], "pop ecx"],
  ["", [0x29, 0xc8], "sub eax, ecx"],
  ["", [0x59], "pop ecx"],
  ["", [0x19, 0xca], "sbb edx, ecx: edx:eax = ticks"],
  ["", [0x01, 0x05, ...record(RECORD.sumLow)], "add [sumLow], eax"],
  ["", [0x11, 0x15, ...record(RECORD.sumHigh)], "adc [sumHigh], edx"],
  ["", [0xf7, 0xda], "neg edx: carry when over 32 bits of ticks"],
  ["", [0x19, 0xd2], "sbb edx, edx"],
  ["", [0x09, 0xd0], "or eax, edx: those count in the last bin"],
  ["", [0x0c, 0x01], "or al, 1: bsr is undefined for 0"],
  ["", [0x0f, 0xbd, 0xc0], "bsr eax, eax"],
  ["", [0xff, 0x04, 0x85, ...record(RECORD.histogram)], "inc dword [histogram + 4 * eax]"],

  // The value that the page was left with: page * PAGE_FACTOR + generation, in each of its words.
  ["", [0x69, 0xc3, ...word(PAGE_FACTOR)], "imul eax, ebx, PAGE_FACTOR"],
  ["", [0x8b, 0x15, ...word(GENERATION)], "mov edx, [generation]"],
  ["", [0x01, 0xd0], "add eax, edx"],
  ["", [0x8b, 0x0d, at("words")], "mov ecx, [words]"],
  ["", [0x85, 0xd2], "test edx, edx"],
  ["", [0x74, near("write")], "jz write: never written before, nothing to check"],
  ["", [0x57], "push edi"],
  ["", [0xf3, 0xaf], "repe scasd"],
  ["", [0x5f], "pop edi"],
  ["", [0x74, near("checked")], "je checked"],
  ["", [0x50], "push eax"],
  ["", [0xbe, at("bad")], "mov esi, bad"],
  ["", [0xe8, call("print")], "call print"],
  ["", [0x89, 0xd8], "mov eax, ebx"],
  ["", [0xe8, call("hex")], "call hex"],
  ["", [0xb0, 0x0a], "mov al, '\\n'"],
  ["", [0xe8, call("put")], "call put"],
  ["", [0x58], "pop eax"],
  ["checked", [0x80, 0x3d, at("writes"), 0x00], "cmp byte [writes], 0"],
  ["", [0x74, near("visited")], "je visited"],
  ["", [0x8b, 0x0d, at("words")], "mov ecx, [words]"],
  ["write", [0x40], "inc eax: the next generation's value"],
  ["", [0xf3, 0xab], "rep stosd"],

  ["visited", [0x8b, 0x0d, at("pause")], "mov ecx, [pause]"],
  ["", [0xe3, 0x02], "jecxz over the loop"],
  ["", [0xe2, 0xfe], "loop to itself"],
  ["", [0xff, 0x0d, ...word(UNTIL_TICK)], "dec dword [untilTick]"],
  ["", [0x75, near("ticked")], "jnz ticked"],
  ["", [0xa1, at("tick")], "mov eax, [tick]"],
  ["", [0xa3, ...word(UNTIL_TICK)], "mov [untilTick], eax"],
  ["", [0xb0, 0x2e], "mov al, '.'"],
  ["", [0xe8, call("put")], "call put"],
  ["ticked", [0x4d], "dec ebp"],
  ["", [0x0f, 0x89, call("page")], "jns page"],
];

/** The end of a round: one line with the record's words, in hexadecimal. */
const REPORT: readonly Row[] = [
  ["", [0x83, 0x3d, ...word(GENERATION), 0x01], "cmp dword [generation], 1: carry when it is 0"],
  ["", [0x72, near("written")], "jb written: the first round always writes"],
  ["", [0x80, 0x3d, at("writes"), 0x01], "cmp byte [writes], 1: carry when it is 0"],
  ["", [0x72, near("counted")], "jb counted"],
  ["written", [0xff, 0x05, ...word(GENERATION)], "inc dword [generation]"],
  ["counted", [0xff, 0x05, ...record(RECORD.round)], "inc dword [round]"],
  ["", [0x0f, 0x31], "rdtsc"],
  ["", [0x89, 0x15, ...record(RECORD.tscHigh)], "mov [tscHigh], edx"],
  ["", [0xa3, ...record(RECORD.tscLow)], "mov [tscLow], eax"],
  ["", [0xbe, at("line")], "mov esi, line"],
  ["", [0xe8, call("print")], "call print"],
  ["", [0xbe, ...word(RECORD_ADDRESS)], "mov esi, RECORD_ADDRESS"],
  ["", [0x8b, 0x3d, at("reportWords")], "mov edi, [reportWords]"],
  ["report", [0xb0, 0x20], "mov al, ' '"],
  ["", [0xe8, call("put")], "call put"],
  ["", [0xad], "lodsd"],
  ["", [0xe8, call("hex")], "call hex"],
  ["", [0x4f], "dec edi"],
  ["", [0x75, near("report")], "jnz report"],
  ["", [0xb0, 0x0a], "mov al, '\\n'"],
  ["", [0xe8, call("put")], "call put"],
  ["", [0xe9, call("round")], "jmp round"],
];

/** Strings, and the parameters that boot_sector.ts fills in. */
const DATA: readonly Row[] = [
  ["line", [...new TextEncoder().encode("round\0")], "text before a round's record"],
  ["bad", [...new TextEncoder().encode("BAD page \0")], "text before the number of a wrong page"],
  ["mask", word(0), "pages - 1"],
  ["multiplier", word(1), "of the page step; 1 modulo 4"],
  ["increment", word(1), "of the page step; odd"],
  ["base", word(0), "address of page 0"],
  ["words", word(1024), "words filled and checked in a page"],
  ["pause", word(0), "empty loops after a page"],
  ["tick", word(0), "pages between two dots"],
  ["reportWords", word(1), "words of the record to print"],
  ["writes", [1], "0: rounds after the first only read"],
];

/** The whole program, in the order of its bytes. */
export const GUEST_CODE: readonly Row[] = [
  ...PROTECTED_MODE,
  ...START,
  ...ROUND,
  ...REPORT,
  ...SERIAL,
  ...DATA,
  ...SEGMENTS,
];
