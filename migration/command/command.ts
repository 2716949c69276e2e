/** What a command is, and how an entry point lists those that it has. */

import type { Options } from "./arguments.ts";

/** One command. Its help is made from this, so that it cannot lack an option. */
export interface Command {
  /** What follows its name, as `"IMAGE --to ADDRESS [options]"`. */
  readonly synopsis: string;
  /** What it does, a paragraph each. */
  readonly about: readonly string[];
  /** Its options; it reads them by the same table. */
  readonly options: Options;
  /** What its exit codes mean. */
  readonly exits: Readonly<Record<number, string>>;
  /**
   * Runs it.
   *
   * @param args what follows its name
   * @param program what the user types before a command's name
   * @returns the exit code
   */
  run(args: readonly string[], program: string): Promise<number>;
  /** Exit code for an error whose message is for the user; undefined for a mistake of the program. */
  exitCodeOf(error: Error): number | undefined;
}

/** Loads a command. Nothing of it is loaded before, so that others start quickly. */
export type LoadCommand = () => Promise<Command>;

/** A command of an entry point. */
export interface CommandEntry {
  /** What it does, in half a line. */
  readonly summary: string;
  /** The command; or those of one name, of which an option chooses one, by that option. */
  readonly load: LoadCommand | Readonly<Record<string, LoadCommand>>;
}

/** The commands of an entry point by their names. */
export type Commands = Readonly<Record<string, CommandEntry>>;

/** An entry point. */
export interface CommandLine {
  /** What the user types before a command's name. */
  readonly program: string;
  /** What all of it is for, in a sentence. */
  readonly about: string;
  /** What there is. */
  readonly commands: Commands;
}
