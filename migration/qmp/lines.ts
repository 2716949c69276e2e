/** Splits a stream of bytes into lines. */

/**
 * Reads a stream to its end and reports each line.
 *
 * @param stream UTF-8 text
 * @param onLine gets every line without its "\n" or "\r\n"; a last line without one is not reported
 * @param onText gets the text in the pieces that arrived, before the lines that they complete
 * @param longest characters of a line at most
 * @throws {RangeError} for a line that is longer
 * @throws what a callback threw; the stream is cancelled then
 */
export async function readLines(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onLine: (line: string) => void,
  onText?: (text: string) => void,
  longest = Infinity,
): Promise<void> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    onText?.(text);
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) onLine(line.endsWith("\r") ? line.slice(0, -1) : line);
    if (rest.length > longest) throw new RangeError(`Line of more than ${longest} characters`);
  }
}
