/** Quantities as people read them. */

const BINARY_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const TIME_UNITS = [["ns", 1], ["us", 1e3], ["ms", 1e6], ["s", 1e9]] as const;

/** Three significant digits, without an exponent: `1.23`, `12.3`, `123`, `1234`. */
function significant(value: number): string {
  const magnitude = Math.abs(value);
  if (magnitude === 0) return "0";
  // The limits are where rounding would reach the next power of ten.
  return value.toFixed(magnitude < 9.995 ? 2 : magnitude < 99.95 ? 1 : 0);
}

/**
 * Writes a number of bytes with a binary unit, for example `512 MiB` or `1.50 KiB`.
 *
 * @param bytes not negative
 */
export function formatBytes(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < BINARY_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number.isInteger(value) ? value : significant(value)} ${BINARY_UNITS[unit]}`;
}

/** Writes bytes per second, for example `1.21 GiB/s`. */
export function formatRate(bytesPerSecond: number): string {
  return `${formatBytes(Math.round(bytesPerSecond))}/s`;
}

/** Writes a duration with the unit that fits: `870 ns`, `118 us`, `2.50 ms`, `3.10 s`. */
export function formatDuration(nanoseconds: number): string {
  let unit = 0;
  // 999.5 of a unit would be written as 1000.
  while (unit < TIME_UNITS.length - 1 && nanoseconds / TIME_UNITS[unit]![1] >= 999.5) unit++;
  const [name, factor] = TIME_UNITS[unit]!;
  const value = nanoseconds / factor;
  return `${
    unit === 0 || Number.isInteger(value) ? Math.round(value) : significant(value)
  } ${name}`;
}

/** Writes a whole number with thousands separated, for example `131,072`. */
export function formatCount(count: number): string {
  return count.toLocaleString("en-US", { maximumFractionDigits: 0 });
}

/** Writes a share of a whole, for example `42.0 %`; of nothing, `100.0 %`. */
export function formatShare(part: number, whole: number): string {
  return `${(whole === 0 ? 100 : part / whole * 100).toFixed(1)} %`;
}
