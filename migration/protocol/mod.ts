/**
 * QEMU's migration protocol, version 3: encoders and decoders without I/O.
 *
 * @module
 */
export { MAX_ABSENT_RUNS } from "./absent_pages.ts";
export { bitmapBytes, bitmapFromWords, bitmapToWords } from "./bitmap_codec.ts";
export { type AbsentPagesCommand, type Command, type DiscardRange } from "./command.ts";
export { inflatePage } from "./compressed_page.ts";
export { type Configuration, hasCapability, withoutCapability } from "./configuration.ts";
export * from "./constants.ts";
export {
  type DeviceSection,
  deviceSections,
  type DeviceStateTail,
  joinDeviceState,
} from "./device_state.ts";
export { splitDeviceState } from "./device_state_end.ts";
export { discardCommands } from "./discard.ts";
export { EXTENSION, EXTENSION_COOKIE, EXTENSIONS } from "./extensions.ts";
export * from "./multifd.ts";
export { MultifdDecoder, type MultifdDecoderOptions } from "./multifd_decoder.ts";
export { MultifdEncoder, type MultifdPacketFields } from "./multifd_encoder.ts";
export { encodeName } from "./names.ts";
export { joinPackage, type Package, splitPackage } from "./package.ts";
export { MAX_PAGE_REQUEST_BYTES, writePageRequest } from "./page_request.ts";
export { ProtocolError, type ProtocolErrorCode } from "./protocol_error.ts";
export { type BlockEntry, type MappedRegion, type RamHandler } from "./ram.ts";
export { RamDecoder, type RamDecoderOptions } from "./ram_decoder.ts";
export { RamEncoder } from "./ram_encoder.ts";
export { MAX_RECORD_HEADER_BYTES, writeRecordHeader } from "./record_header.ts";
export { type ReturnPathHandler } from "./return_path.ts";
export { ReturnPathDecoder } from "./return_path_decoder.ts";
export { ReturnPathEncoder } from "./return_path_encoder.ts";
export { IgnoreStream, type StreamHandler } from "./stream.ts";
export { StreamDecoder, type StreamDecoderOptions } from "./stream_decoder.ts";
export { StreamEncoder } from "./stream_encoder.ts";
export { type DescribedDevice, parseVmDescription, type VmDescription } from "./vm_description.ts";
export { decodeXbzrle } from "./xbzrle.ts";
