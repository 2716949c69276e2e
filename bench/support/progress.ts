/** Progress lines on standard error, so that standard output holds the tables alone. */

const encoder = new TextEncoder();
const start = performance.now();

/** Writes one line with the seconds since the benchmark began. */
export function progress(message: string): void {
  const seconds = ((performance.now() - start) / 1000).toFixed(1).padStart(6);
  Deno.stderr.writeSync(encoder.encode(`${seconds} s  ${message}\n`));
}

/** Writes text to standard output. */
export function print(text: string): void {
  const bytes = encoder.encode(`${text}\n`);
  let written = 0;
  while (written < bytes.length) written += Deno.stdout.writeSync(bytes.subarray(written));
}
