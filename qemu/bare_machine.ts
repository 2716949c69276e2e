/**
 * What every guest without an operating system needs: a sector that a BIOS boots, the way from there
 * into 32-bit code, timer interrupts, and the serial port. See assembler.ts for how the tables read.
 *
 * @module
 */
import { assemble, at, at16, call, near, type Row, word } from "./assembler.ts";

/** Address where a PC BIOS puts the boot sector it starts. */
export const LOAD_ADDRESS = 0x7c00;

/** Bytes of a page, as guests walk their memory. */
export const GUEST_PAGE_SIZE = 4096;

/** Guest physical address of the working set: above the first MiB and what the BIOS uses of it. */
export const WORKING_SET_ADDRESS = 0x200000;

/** Memory that stays free above the working set: SeaBIOS keeps its tables at the end of RAM. */
export const RESERVED_ABOVE = 1 << 20;

/** A generator of pages and their words: full period modulo a power of two (Hull, Dobell 1962). */
export const MULTIPLIER = 1664525;
/** What it adds. */
export const INCREMENT = 1013904223;

/** Bytes of a sector that hold code: the mark behind them makes it bootable. */
const CODE_BYTES = 510;

/**
 * Builds a bootable disk of one sector.
 *
 * @param code The program.
 * @param values The u32 at each of these labels.
 * @returns The sector, and the offset of every label in it.
 * @throws {RangeError} When the program does not fit, or a label is missing.
 */
export function bootableSector(
  code: readonly Row[],
  values: Readonly<Record<string, number>>,
): { sector: Uint8Array<ArrayBuffer>; labels: ReadonlyMap<string, number> } {
  const { bytes, labels } = assemble(code, LOAD_ADDRESS);
  if (bytes.length > CODE_BYTES) {
    throw new RangeError(`Guest does not fit its sector: ${bytes.length}`);
  }
  const sector = new Uint8Array(CODE_BYTES + 2);
  sector.set(bytes);
  sector.set([0x55, 0xaa], CODE_BYTES);
  const view = new DataView(sector.buffer);
  for (const [label, value] of Object.entries(values)) {
    const offset = labels.get(label);
    if (offset === undefined) throw new RangeError(`Label is nowhere in the code: ${label}`);
    view.setUint32(offset, value, true);
  }
  return { sector, labels };
}

/** Real mode, as the BIOS left it: switch to flat 32-bit protected mode, to reach all memory. */
export const PROTECTED_MODE: readonly Row[] = [
  ["", [0xfa], "cli"],
  ["", [0xfc], "cld"],
  ["", [0x31, 0xc0], "xor ax, ax"],
  ["", [0x8e, 0xd8], "mov ds, ax"],
  ["", [0x0f, 0x01, 0x16, at16("gdtr")], "lgdt [gdtr]"],
  ["", [0x0f, 0x20, 0xc0], "mov eax, cr0"],
  ["", [0x0c, 0x01], "or al, 1: protection enable"],
  ["", [0x0f, 0x22, 0xc0], "mov cr0, eax"],
  ["", [0xea, at16("flat"), 0x08, 0x00], "jmp 0x08:flat"],
  ["flat", [0x66, 0xb8, 0x10, 0x00], "mov ax, 0x10: the flat data segment"],
  ["", [0x8e, 0xd8], "mov ds, ax"],
  ["", [0x8e, 0xc0], "mov es, ax"],
  ["", [0x8e, 0xd0], "mov ss, ax"],
];

/**
 * The end of a loop that fills memory with words of which no two pages have the same: fills ecx words
 * at edi and goes on at the label `fillPage`, edx times in all. ebx is the generator's.
 */
export const FILL_WORDS: readonly Row[] = [
  ["", [0x69, 0xdb, ...word(MULTIPLIER)], "imul ebx, MULTIPLIER"],
  ["", [0x81, 0xc3, ...word(INCREMENT)], "add ebx, INCREMENT"],
  ["", [0x89, 0xd8], "mov eax, ebx"],
  ["fillWord", [0xab], "stosd"],
  ["", [0x05, ...word(0x9e3779b1)], "add eax, 0x9e3779b1"],
  ["", [0xe2, near("fillWord")], "loop fillWord"],
  ["", [0x4a], "dec edx"],
  ["", [0x75, near("fillPage")], "jnz fillPage"],
];

/**
 * Timer interrupts, and no others, to the label `ticked`; the counter wants its two bytes next, and
 * `sti`.
 *
 * @param gate Address of interrupt descriptor 8: the BIOS left timer interrupts there.
 */
export const timerInterrupts = (gate: number): readonly Row[] => [
  ["", [0xc7, 0x05, ...word(gate), at16("ticked"), 0x08, 0x00], "gate to 0x08:ticked"],
  ["", [0xc7, 0x05, ...word(gate + 4), 0x00, 0x8e, 0x00, 0x00], "32-bit interrupt gate"],
  ["", [0x0f, 0x01, 0x1d, at("idtr")], "lidt [idtr]"],
  ["", [0xb0, 0xfe, 0xe6, 0x21], "out 0x21, 0xfe: interrupt controllers mask all but the timer"],
  ["", [0xb0, 0xff, 0xe6, 0xa1], "out 0xa1, 0xff"],
  ["", [0xb0, 0x34, 0xe6, 0x43], "out 0x43, 0x34: counter 0, low byte then high, periodic"],
];

/** Output on the first serial port (16550 at 0x3f8). `put` changes edx; the others eax, ecx too. */
export const SERIAL: readonly Row[] = [
  ["put", [0x50], "push eax: al is the character"],
  ["", [0x66, 0xba, 0xfd, 0x03], "mov dx, 0x3fd: line status"],
  ["busy", [0xec], "in al, dx"],
  ["", [0xa8, 0x20], "test al, 0x20: transmitter empty?"],
  ["", [0x74, near("busy")], "jz busy"],
  ["", [0x58], "pop eax"],
  ["", [0xb2, 0xf8], "mov dl, 0xf8: data"],
  ["", [0xee], "out dx, al"],
  ["", [0xc3], "ret"],

  ["hex", [0xb9, ...word(8)], "mov ecx, 8: eax as eight digits"],
  ["digit", [0xc1, 0xc0, 0x04], "rol eax, 4"],
  ["", [0x50], "push eax"],
  ["", [0x24, 0x0f], "and al, 15"],
  ["", [0x3c, 0x0a], "cmp al, 10"],
  ["", [0x72, 0x02], "jb over the add"],
  ["", [0x04, 0x07], "add al, 'A' - '9' - 1"],
  ["", [0x04, 0x30], "add al, '0'"],
  ["", [0xe8, call("put")], "call put"],
  ["", [0x58], "pop eax"],
  ["", [0xe2, near("digit")], "loop digit"],
  ["", [0xc3], "ret"],

  ["print", [0xac], "lodsb: the text at esi, up to a zero byte"],
  ["", [0x84, 0xc0], "test al, al"],
  ["", [0x74, near("printed")], "jz printed"],
  ["", [0xe8, call("put")], "call put"],
  ["", [0xeb, near("print")], "jmp print"],
  ["printed", [0xc3], "ret"],
];

/** The segments that {@linkcode PROTECTED_MODE} loads. */
export const SEGMENTS: readonly Row[] = [
  ["gdtr", [0x17, 0x00, at("gdt")], "limit, address"],
  ["gdt", [...word(0), ...word(0)], "0x00: null"],
  ["", [...word(0x0000ffff), ...word(0x00cf9a00)], "0x08: code, base 0, limit 4 GiB, 32-bit"],
  ["", [...word(0x0000ffff), ...word(0x00cf9200)], "0x10: data, base 0, limit 4 GiB"],
];
