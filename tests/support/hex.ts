/**
 * Bytes written the way the protocol's documents write them: hexadecimal digits, with text in double
 * quotes.
 *
 * ```ts
 * hexBytes(`08 0002 0004 00000001`);
 * hexBytes(`06 "pc.ram" 0000000004000000`);
 * ```
 */
export function hexBytes(text: string): Uint8Array {
  const bytes: number[] = [];
  for (const [i, part] of text.split('"').entries()) {
    if (i % 2 === 1) bytes.push(...new TextEncoder().encode(part));
    else for (const digits of part.match(/[0-9a-f]{2}/g) ?? []) bytes.push(parseInt(digits, 16));
  }
  return new Uint8Array(bytes);
}
