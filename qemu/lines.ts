/**
 * Splits a stream of bytes into lines, by hand: what the demo loads must resolve without JSR.
 *
 * @module
 */

export { readLines } from "../migration/qmp/lines.ts";
