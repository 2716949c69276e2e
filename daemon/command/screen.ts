/** A whole terminal that is drawn over again and again. */

// ECMA-48 and xterm: the other screen, the cursor's sight, its place, erasing behind it.
const ENTER = "\x1b[?1049h\x1b[?25l";
const LEAVE = "\x1b[?25h\x1b[?1049l";
const HOME = "\x1b[H";
const TO_LINE_END = "\x1b[K";
const TO_END = "\x1b[J";

/** What a terminal can show at once. */
export interface ScreenSize {
  readonly columns: number;
  readonly rows: number;
}

/** What the terminal of this process can show; what a terminal mostly can, when it does not say. */
export function terminalSize(): ScreenSize {
  try {
    const { columns, rows } = Deno.consoleSize();
    return { columns: columns || 80, rows: rows || 24 }; // one without a size says 0
  } catch {
    return { columns: 80, rows: 24 };
  }
}

/**
 * Cuts lines to a screen, and says how many are not shown.
 *
 * @param lines those that are to be seen, the most important first
 */
export function fitted(lines: readonly string[], { columns, rows }: ScreenSize): string[] {
  const cut = (line: string) => [...line].slice(0, columns).join("");
  if (lines.length <= rows) return lines.map(cut);
  const shown = lines.slice(0, Math.max(0, rows - 1));
  return [...shown, `and ${lines.length - shown.length} more lines`].map(cut);
}

/** The screen of a terminal; what it showed before comes back when this is disposed of. */
export class Screen implements Disposable {
  readonly #write: (text: string) => void;
  readonly #size: () => ScreenSize;
  #open = true;

  /**
   * @param write takes what is for the terminal
   * @param size asked for at each drawing
   */
  constructor(write: (text: string) => void, size: () => ScreenSize) {
    this.#write = write;
    this.#size = size;
    write(ENTER);
  }

  /** The terminal that this process writes to. */
  static onTerminal(): Screen {
    const encoder = new TextEncoder();
    const write = (text: string): void => {
      try {
        const bytes = encoder.encode(text);
        for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
      } catch {
        // It was closed: nobody looks.
      }
    };
    return new Screen(write, terminalSize);
  }

  /** How many characters a line has now. */
  get columns(): number {
    return this.#size().columns;
  }

  /** Shows lines in place of those before. */
  draw(lines: readonly string[]): void {
    if (!this.#open) return;
    const text = fitted(lines, this.#size()).map((line) => `${line}${TO_LINE_END}`).join("\r\n");
    this.#write(`${HOME}${text}${TO_END}`);
  }

  /** Gives the terminal back. */
  [Symbol.dispose](): void {
    if (this.#open) this.#write(LEAVE);
    this.#open = false;
  }
}
