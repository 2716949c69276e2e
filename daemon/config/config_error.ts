/** A configuration that cannot be used. */

/** Where in the file, and what. */
export interface ConfigFault {
  /** From 1; 0 where the whole file is meant. */
  readonly line: number;
  readonly message: string;
}

/** All that is wrong with a configuration, a line each. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  /** The file. */
  readonly path: string;
  /** What is wrong, by line. */
  readonly faults: readonly ConfigFault[];

  /**
   * Makes the error.
   *
   * @param path the file
   * @param faults what is wrong; at least one
   */
  constructor(path: string, faults: readonly ConfigFault[]) {
    super(
      faults.map(({ line, message }) => `${path}${line === 0 ? "" : `:${line}`}: ${message}`)
        .join("\n"),
    );
    this.path = path;
    this.faults = faults;
  }
}
