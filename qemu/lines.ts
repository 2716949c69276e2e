/**
 * Splits a stream of bytes into lines, by hand: what the demo loads must resolve without JSR.
 *
 * @module
 */

/**
 * Reads a stream to its end and reports each line.
 *
 * @param stream UTF-8 text.
 * @param onLine Gets every line without its "\n" or "\r\n"; a last line without one is not reported.
 * @param onText Gets the text in the pieces that arrived, before the lines that they complete.
 */
export async function readLines(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onLine: (line: string) => void,
  onText?: (text: string) => void,
): Promise<void> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    onText?.(text);
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) onLine(line.endsWith("\r") ? line.slice(0, -1) : line);
  }
}
