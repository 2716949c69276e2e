/** Reads a stream of text or bytes to its end, as text (UTF-8). */
export async function toText(stream: ReadableStream): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) {
    text += typeof chunk === "string" ? chunk : decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** Reads a stream of text or bytes to its end, as JSON. */
export async function toJson(stream: ReadableStream): Promise<unknown> {
  return JSON.parse(await toText(stream));
}

/** Reads a stream of bytes to its end. */
export async function toBlob(stream: ReadableStream<Uint8Array>): Promise<Blob> {
  return new Blob([await toArrayBuffer(stream)]);
}

/** Reads a stream of bytes to its end. */
export async function toArrayBuffer(stream: ReadableStream<Uint8Array>): Promise<ArrayBuffer> {
  return await new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer();
}
