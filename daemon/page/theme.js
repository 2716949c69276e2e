/** The page's colours, for what is drawn by hand. */

const dark = matchMedia("(prefers-color-scheme: dark)");
const still = matchMedia("(prefers-reduced-motion: reduce)");
let colours = read();

function read() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    panel: of("panel"),
    line: of("line"),
    text: of("text"),
    quiet: of("quiet"),
    missing: of("missing"),
    placed: of("placed"),
    asked: of("asked"),
    absent: of("absent"),
    multifd: of("multifd"),
    font: of("sans"),
  };
}

/** The colours as they are now, `#rrggbb`, and the font. */
export function theme() {
  return colours;
}

/** Whether nothing should move that need not. */
export function isStill() {
  return still.matches;
}

/** Calls back when the colours have changed. */
export function onTheme(changed) {
  dark.addEventListener("change", () => {
    colours = read();
    changed();
  });
}

/** The three parts of a colour `#rrggbb`. */
export function parts(colour) {
  const number = Number.parseInt(colour.slice(1), 16);
  return [number >> 16, (number >> 8) & 255, number & 255];
}

/**
 * Steps from one colour to another.
 *
 * @param steps how many, at least two
 */
export function ramp(from, to, steps) {
  const [one, other] = [parts(from), parts(to)];
  return Array.from({ length: steps }, (_, step) => {
    const share = step / (steps - 1);
    const mixed = one.map((part, index) => Math.round(part + (other[index] - part) * share));
    return `rgb(${mixed.join(" ")})`;
  });
}
