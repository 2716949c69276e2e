/** The order in which the sections of ram may come. */

import { ELEMENT, RAM_SECTION } from "./constants.ts";
import { hex, ProtocolError } from "./protocol_error.ts";

/**
 * The life of the ram section: one start, parts, one end, each closed by its footer (docs/protocol.md
 * section 1.1).
 *
 * Offsets are of the element in the stream, for the errors.
 */
export class RamSectionState {
  #id: number | undefined;
  #state: "expected" | "started" | "ended";
  /** The section that is open is the last. */
  #last = false;

  /**
   * @param resumed The section started on an earlier connection.
   * @param id Its id then, if known.
   */
  constructor(resumed: boolean, id: number | undefined) {
    this.#state = resumed ? "started" : "expected";
    this.#id = id;
  }

  /** SECTION_START. */
  start(id: number, version: number, offset: number): void {
    if (version !== RAM_SECTION.VERSION || this.#state !== "expected") {
      throw new ProtocolError(
        "bad-section",
        offset,
        `one start of section ram, version ${RAM_SECTION.VERSION}`,
        this.#state === "expected" ? `version ${version}` : "another one",
      );
    }
    this.#id = id;
    this.#state = "started";
  }

  /** SECTION_PART or, when `last`, SECTION_END. */
  goOn(id: number, last: boolean, offset: number): void {
    const started = this.#state === "started";
    if (started) this.#id ??= id;
    if (!started || id !== this.#id) {
      throw new ProtocolError(
        "bad-section",
        offset,
        started ? `section ${this.#id}` : "no section before or after ram",
        `section ${id}`,
      );
    }
    this.#last = last;
  }

  /** What stands where the footer must be. */
  close(type: number, id: number, offset: number): void {
    if (type !== ELEMENT.SECTION_FOOTER || id !== this.#id) {
      throw new ProtocolError(
        "bad-section",
        offset,
        `footer ${hex(ELEMENT.SECTION_FOOTER)} of section ${this.#id}`,
        `${hex(type)} and ${id}`,
      );
    }
    if (this.#last) this.#state = "ended";
  }
}
