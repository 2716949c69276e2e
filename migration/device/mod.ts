/**
 * Device state: typed descriptions of it, and how it is saved, loaded and described in QEMU's formats.
 *
 * @module
 */
export {
  type Description,
  description,
  type DescriptionOptions,
  type Fields,
  newState,
  type StateOf,
  type StateOfAll,
} from "./description.ts";
export {
  DeviceStateError,
  type DeviceStateErrorCode,
  type FieldFault,
} from "./device_state_error.ts";
export { type Device, Devices, type LoadOptions } from "./devices.ts";
export {
  array,
  bool,
  bytes,
  counted,
  countedBytes,
  type Element,
  type Field,
  i16,
  i32,
  i64,
  i8,
  type Padding,
  safeI64,
  safeU64,
  since,
  struct,
  u16,
  u32,
  u64,
  u8,
  unused,
  type ValueOf,
} from "./fields.ts";
export {
  FIELD_KIND,
  type FieldFormat,
  type FieldKind,
  type State,
  type Step,
  type Structure,
} from "./structure.ts";
