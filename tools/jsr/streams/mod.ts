/**
 * Stand-in for `@std/streams`: the functions this project uses, with the same signatures.
 *
 * @module
 */

export { TextLineStream } from "./text_line_stream.ts";
export type { TextLineStreamOptions } from "./text_line_stream.ts";
export { mergeReadableStreams } from "./merge_readable_streams.ts";
export { toArrayBuffer, toBlob, toJson, toText } from "./collect.ts";
