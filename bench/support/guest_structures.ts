/** Pages of structures: arrays of objects as a kernel's slabs and a program's heap hold them. */

import { ContentRandom } from "./guest_random.ts";

const PAGE_WORDS = 1024;

/** What an object has in a field of 8 bytes. */
const FIELD = {
  ZERO: 0,
  /** A pointer to another object somewhere in 16 MiB. */
  POINTER: 1,
  /** A pointer to the field itself, as in an empty list. */
  SELF: 2,
  /** A pointer to the object after this one. */
  NEXT: 3,
  /** A pointer that all objects of a kind share: to functions, or to what owns them. */
  SHARED: 4,
  /** A small count. */
  COUNT: 5,
  /** One of few sets of flags. */
  FLAGS: 6,
  /** A number one above that of the object before. */
  SERIAL: 7,
  /** A hash or a checksum. */
  HASH: 8,
  /** A time in nanoseconds, near that of the object before. */
  TIME: 9,
} as const;

/** How many fields of an object are of a kind, in parts of the sum. */
const FIELD_SHARES: readonly (readonly [kind: number, share: number])[] = [
  [FIELD.ZERO, 34],
  [FIELD.POINTER, 9],
  [FIELD.SELF, 6],
  [FIELD.NEXT, 4],
  [FIELD.SHARED, 17],
  [FIELD.COUNT, 14],
  [FIELD.FLAGS, 9],
  [FIELD.SERIAL, 4],
  [FIELD.HASH, 3],
  [FIELD.TIME, 4],
];
const FIELD_KINDS = Uint8Array.from(
  FIELD_SHARES.flatMap(([kind, share]) => new Array<number>(share).fill(kind)),
);

/** Fields of an object, of each kind of object. */
const OBJECT_FIELDS: readonly number[] = [8, 12, 16, 16, 20, 24, 24, 32, 32, 40, 48, 64];
/** One object in so many is free: nothing but zeros and a pointer to the next free one. */
const FREE_EVERY = 16;

/** The kinds of objects: the same in every run, as in every guest of one kernel. */
const LAYOUTS: readonly Uint8Array[] = makeLayouts();

function makeLayouts(): Uint8Array[] {
  const random = new ContentRandom();
  random.start(1, 0);
  return OBJECT_FIELDS.map((fields) =>
    Uint8Array.from(
      { length: fields },
      () => FIELD_KINDS[(random.next() >>> 0) % FIELD_KINDS.length]!,
    )
  );
}

/**
 * Writes a page of structures.
 *
 * @param random at the page's beginning
 * @param page the page's number, for the addresses of its objects
 * @param into where it goes, from the start
 */
export function writeStructures(random: ContentRandom, page: number, into: Int32Array): void {
  const kind = random.next();
  const layout = LAYOUTS[(kind >>> 8) % LAYOUTS.length]!;
  // A kernel's memory lies above 0xffff888000000000, a program's heap at 0x55... or 0x7f...
  const high = (kind & 3) !== 0 ? 0xffff_8880 | 0 : 0x0000_55d4 + (kind & 4);
  const own = page << 12;
  const window = random.next() & 0x7f00_0000;
  const shared = random.next() & 0x00ff_ffe0;
  const flags = random.next() & 0x0007_0437;
  let serial = random.next() & 0xffff;
  let time = random.next();
  const objectWords = layout.length * 2;
  let at = 0;
  while (at + objectWords <= PAGE_WORDS) {
    const object = random.next();
    const next = own + (at + objectWords) * 4;
    if (object % FREE_EVERY === 0) {
      into.fill(0, at, at + objectWords);
      into[at] = next;
      into[at + 1] = high;
      at += objectWords;
      continue;
    }
    for (let field = 0; field < layout.length; field++, at += 2) {
      let low = 0;
      let top = 0;
      switch (layout[field]) {
        case FIELD.POINTER:
          low = window | (random.next() & 0x00ff_ffc0);
          top = high;
          break;
        case FIELD.SELF:
          low = own + at * 4;
          top = high;
          break;
        case FIELD.NEXT:
          low = next;
          top = high;
          break;
        case FIELD.SHARED:
          low = 0x8100_0000 + shared + field * 64;
          top = -1;
          break;
        case FIELD.COUNT:
          low = (object >>> (field & 15)) & 3;
          break;
        case FIELD.FLAGS:
          low = (object & (1 << (field & 31))) !== 0 ? flags : 0x0800_0000;
          break;
        case FIELD.SERIAL:
          low = serial++;
          break;
        case FIELD.HASH:
          low = random.next();
          break;
        case FIELD.TIME:
          time += object & 0xffff;
          low = time;
          top = 0x0001_6b3a;
          break;
      }
      into[at] = low;
      into[at + 1] = top;
    }
  }
  into.fill(0, at, PAGE_WORDS); // what is left of a slab
}
