/** A captured PC whose processor is in the state that a test wants. */

import { concat, deviceSection, makeCapture, PAGE, part } from "../image/captures.ts";
import { describing } from "../image/described_devices.ts";
import type { MadeMemory } from "./made_memory.ts";

/** A segment or a table. */
export interface MadeSegment {
  readonly base?: bigint;
  readonly limit?: number;
}

/** What is set of a processor; all else is 0. */
export interface MadeProcessor {
  readonly rip?: bigint;
  readonly rsp?: bigint;
  /** By QEMU's numbers. */
  readonly registers?: Readonly<Record<number, bigint>>;
  readonly cr0?: bigint;
  readonly cr3?: bigint;
  readonly cr4?: bigint;
  readonly efer?: bigint;
  /** By QEMU's numbers: 1 is CS, 2 SS, 4 FS, 5 GS. */
  readonly segments?: Readonly<Record<number, MadeSegment>>;
  readonly gdt?: MadeSegment;
  readonly idt?: MadeSegment;
  readonly tr?: MadeSegment;
  readonly lstar?: bigint;
  readonly kernelGsBase?: bigint;
  readonly clock?: bigint;
}

const SEGMENT = {
  vmsd_name: "segment",
  version: 1,
  fields: [
    { name: "selector", type: "uint32", size: 4 },
    { name: "base", type: "uint64", size: 8 },
    { name: "limit", type: "uint32", size: 4 },
    { name: "flags", type: "uint32", size: 4 },
  ],
};
const table = (name: string) => ({ name, type: "struct", size: 20, struct: SEGMENT });
const wide = (name: string) => ({ name, type: "uint64", size: 8 });
const VERSION = 12;

/** Those of QEMU's device `cpu` that are read, as it describes them. */
const CPU = {
  name: "cpu",
  instance_id: 0,
  vmsd_name: "cpu",
  version: VERSION,
  fields: [
    { ...wide("env.regs"), array_len: 16 },
    wide("env.eip"),
    { ...table("env.segs"), array_len: 6 },
    ...["env.tr", "env.gdt", "env.idt"].map(table),
    ...["env.cr[0]", "env.cr[3]", "env.cr[4]", "env.efer", "env.lstar"].map(wide),
    ...["env.kernelgsbase", "env.system_time_msr"].map(wide),
  ],
};

/** Descriptions of processors, by instance. */
function describeProcessors(count: number): object[] {
  return Array.from({ length: count }, (_, instance_id) => ({ ...CPU, instance_id }));
}

/** A processor's section. */
export function processorSection(
  processor: MadeProcessor,
  instance = 0,
): Uint8Array {
  const { registers = {}, segments = {}, rsp = 0n } = processor;
  const bytes = concat(
    ...Array.from({ length: 16 }, (_, at) => u64(at === 4 ? rsp : registers[at] ?? 0n)),
    u64(processor.rip ?? 0n),
    ...Array.from({ length: 6 }, (_, at) => segment(segments[at])),
    segment(processor.tr),
    segment(processor.gdt),
    segment(processor.idt),
    ...[processor.cr0, processor.cr3, processor.cr4, processor.efer, processor.lstar].map((value) =>
      u64(value ?? 0n)
    ),
    u64(processor.kernelGsBase ?? 0n),
    u64(processor.clock ?? 0n),
  );
  const section = deviceSection(10 + instance, "cpu", VERSION, bytes);
  section[6 + section[5]! + 3] = instance;
  return section;
}

/** How a capture is made. */
export interface MadeGuest {
  readonly memory: MadeMemory;
  /** Pages of `pc.ram`. */
  readonly pageCount: number;
  readonly processors: readonly MadeProcessor[];
  readonly machine?: string;
  /** Further sections of devices. */
  readonly devices?: Uint8Array;
  /** Instead of what describes the processors. */
  readonly description?: string;
}

/** A capture of it. */
export function madeCapture(
  { memory, pageCount, processors, machine = "pc-q35-10.0", devices, description }: MadeGuest,
): Uint8Array {
  const sections = processors.map(processorSection);
  const shape = {
    configuration: { machine },
    blocks: [
      { name: "vga.vram", usedLength: 16 * PAGE },
      { name: "pc.ram", usedLength: pageCount * PAGE },
    ],
    devices: concat(...sections, devices ?? new Uint8Array(0)),
    description: description ?? describing(...describeProcessors(processors.length)),
  };
  return makeCapture(shape, (encoder) =>
    part(encoder, () => {
      encoder.block("pc.ram");
      for (let number = 0; number < pageCount; number++) {
        const bytes = memory.pages.get(number);
        if (bytes === undefined) encoder.zeroPage(number * PAGE, 0);
        else encoder.page(number * PAGE, new Uint8Array(bytes.buffer), 0);
      }
    }));
}

function u64(value: bigint): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(8));
  bytes.setBigUint64(0, value);
  return new Uint8Array(bytes.buffer);
}

function segment({ base = 0n, limit = 0 }: MadeSegment = {}): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(20));
  bytes.setBigUint64(4, base);
  bytes.setUint32(12, limit);
  return new Uint8Array(bytes.buffer);
}
