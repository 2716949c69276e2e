/**
 * Devices of QEMU's pc machines in our form, after the VMDESCRIPTION of the recordings: names and types
 * of the fields are what a stream says of itself.
 */

import {
  array,
  bytes,
  type Description,
  description,
  i32,
  i64,
  struct,
  u16,
  u32,
  u64,
  u8,
  unused,
} from "../../migration/device/mod.ts";

export const TIMER = description({
  name: "timer",
  version: 2,
  fields: { cpu_ticks_offset: i64, unused: unused(8), cpu_clock_offset: i64 },
});

export const I8259 = description({
  name: "i8259",
  version: 1,
  fields: {
    last_irr: u8,
    irr: u8,
    imr: u8,
    isr: u8,
    priority_add: u8,
    irq_base: u8,
    read_reg_select: u8,
    poll: u8,
    special_mask: u8,
    init_state: u8,
    auto_eoi: u8,
    rotate_on_auto_eoi: u8,
    special_fully_nested_mode: u8,
    init4: u8,
    single_mode: u8,
    elcr: u8,
  },
});

export const MC146818RTC = description({
  name: "mc146818rtc",
  version: 3,
  fields: {
    cmos_data: bytes(128),
    cmos_index: u8,
    "unused[0]": unused(28),
    periodic_timer: i64,
    next_periodic_time: i64,
    "unused[1]": unused(24),
    irq_coalesced: u32,
    period: u32,
    base_rtc: u64,
    last_update: u64,
    offset: i64,
    update_timer: i64,
    next_alarm_time: u64,
  },
});

const PIT_CHANNEL = description({
  name: "pit channel",
  version: 2,
  fields: {
    count: i32,
    latched_count: u16,
    count_latched: u8,
    status_latched: u8,
    status: u8,
    read_state: u8,
    write_state: u8,
    write_latch: u8,
    rw_mode: u8,
    mode: u8,
    bcd: u8,
    gate: u8,
    count_load_time: i64,
    next_transition_time: i64,
  },
});

export const I8254 = description({
  name: "i8254",
  version: 3,
  fields: {
    "channels[0].irq_disabled": u32,
    channels: array(struct(PIT_CHANNEL), 3),
    "channels[0].next_transition_time": i64,
  },
});

const PS2_COMMON = description({
  name: "PS2 Common State",
  version: 3,
  fields: {
    write_cmd: i32,
    "queue.rptr": i32,
    "queue.wptr": i32,
    "queue.count": i32,
    "queue.data": bytes(256),
  },
});

export const PS2KBD = description({
  name: "ps2kbd",
  version: 3,
  fields: { parent_obj: struct(PS2_COMMON), scan_enabled: i32, translate: i32, scancode_set: i32 },
});

const DMA_REGS = description({
  name: "dma_regs",
  version: 1,
  fields: {
    now: array(i32, 2),
    base: array(u16, 2),
    mode: u8,
    page: u8,
    pageh: u8,
    dack: u8,
    eop: u8,
  },
});

export const DMA = description({
  name: "dma",
  version: 1,
  fields: { command: u8, mask: u8, flip_flop: u8, dshift: i32, regs: array(struct(DMA_REGS), 4) },
});

const KBD = description({
  name: "pckbd",
  version: 3,
  fields: { write_cmd: u8, status: u8, mode: u8, pending_tmp: u8 },
  subsections: [
    description({
      name: "pckbd/extended_state",
      version: 0,
      fields: { migration_flags: u32, obsrc: u32, obdata: u8, cbdata: u8 },
      needed: () => true,
    }),
  ],
});

export const PCKBD = description({ name: "pckbd", version: 3, fields: { kbd: struct(KBD) } });

export const FW_CFG = description({
  name: "fw_cfg",
  version: 2,
  fields: { cur_entry: u16, "cur_offset[1]": u32 },
  subsections: [
    description({
      name: "fw_cfg/dma",
      version: 0,
      fields: { dma_addr: u64 },
      needed: () => true,
    }),
    description({
      name: "fw_cfg/acpi_mr",
      version: 1,
      fields: { table_mr_size: u64, linker_mr_size: u64, rsdp_mr_size: u64 },
      needed: () => true,
    }),
  ],
});

/** All of them with their section's name and instance. */
export const QEMU_DEVICES: readonly {
  readonly name: string;
  readonly instance: number;
  readonly description: Description<never>;
}[] = [
  { name: "timer", instance: 0, description: TIMER },
  { name: "fw_cfg", instance: 0, description: FW_CFG },
  { name: "dma", instance: 0, description: DMA },
  { name: "dma", instance: 1, description: DMA },
  { name: "mc146818rtc", instance: 0, description: MC146818RTC },
  { name: "i8259", instance: 0, description: I8259 },
  { name: "i8259", instance: 1, description: I8259 },
  { name: "i8254", instance: 0, description: I8254 },
  { name: "ps2kbd", instance: 0, description: PS2KBD },
  { name: "pckbd", instance: 0, description: PCKBD },
];
