/** What the page has seen of a session's figures, to draw how they changed. Nothing here needs a browser. */

/** Samples that are kept of a session: ten minutes, one a second. */
const KEPT = 600;

/** Rates of one session, a sample for each look at it. */
export class History {
  /** Seconds since 1970, and what went by a second since the sample before. */
  times = [];
  background = [];
  urgent = [];
  multifd = [];
  requests = [];
  #last;

  /**
   * Notes the figures.
   *
   * @param at milliseconds since 1970
   * @param figures from `figuresOf`
   */
  note(at, figures) {
    const last = this.#last;
    this.#last = { at, figures };
    if (last === undefined || at <= last.at) return;
    const seconds = (at - last.at) / 1000;
    // A daemon that was started again begins to count anew.
    const by = (name) => Math.max(0, figures[name] - last.figures[name]) / seconds;
    this.times.push(at / 1000);
    for (const name of ["background", "urgent", "multifd", "requests"]) this[name].push(by(name));
    if (this.times.length <= KEPT) return;
    for (const name of ["times", "background", "urgent", "multifd", "requests"]) this[name].shift();
  }

  /** The newest rates; undefined before there are two samples. */
  get newest() {
    const last = this.times.length - 1;
    if (last < 0) return undefined;
    return {
      bytes: this.background[last] + this.urgent[last] + this.multifd[last],
      requests: this.requests[last],
    };
  }
}
