/** What a connection of two plain processes reaches: the reference for all that moves pages. */

import { BenchProcess } from "../support/bench_process.ts";
import { type CpuPlacement, type End, placementPrefix } from "../support/cpu_placement.ts";
import { LOOPBACK } from "../support/link.ts";
import { summarise } from "../support/statistics.ts";
import type { LibraryFigures } from "./figures.ts";
import type {
  LibraryAnswer,
  LibraryCommand,
  LibraryEndReady,
  LibraryEndSetup,
} from "./library_end.ts";

const SCRIPT = new URL("./library_end.ts", import.meta.url);
/** Round trips measured, and before them those that are not. */
const REQUESTS = 3000;
const WARM_UP = 1000;

/** Two processes that have shaken hands. */
class LibraryPair implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  #source!: BenchProcess;
  #destination!: BenchProcess;
  /** Version and cipher; undefined in clear. */
  cipher: string | undefined;

  private constructor() {}

  static async start(
    placement: CpuPlacement,
    credentials: string | undefined,
  ): Promise<LibraryPair> {
    const made = new LibraryPair();
    await using stack = new AsyncDisposableStack();
    const start = (end: End, port?: number): BenchProcess => {
      const setup: LibraryEndSetup = {
        host: LOOPBACK.destination.host,
        ...port === undefined ? {} : { port },
        ...credentials === undefined ? {} : { credentials },
      };
      const prefix = placementPrefix(placement, end);
      return stack.use(new BenchProcess(SCRIPT, { prefix, args: [JSON.stringify(setup)] }));
    };
    made.#destination = start("destination");
    const { port } = await made.#destination.next<{ port: number }>();
    made.#source = start("source", port);
    await made.#source.next<LibraryEndReady>();
    made.cipher = (await made.#destination.next<LibraryEndReady>()).cipher;
    made.#stack.use(stack.move());
    return made;
  }

  /** Has both ends do their parts. */
  async both(
    source: LibraryCommand,
    destination: LibraryCommand,
  ): Promise<{ readonly source: LibraryAnswer; readonly destination: LibraryAnswer }> {
    const [there, here] = await Promise.all([
      this.#source.ask<LibraryAnswer>(source),
      this.#destination.ask<LibraryAnswer>(destination),
    ]);
    return { source: there, destination: here };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/**
 * Measures round trips on one CPU, and a stream, between two processes.
 *
 * @param placement of the stream
 * @param length bytes of it
 * @param credentials as for `--tls-creds`; undefined: in clear
 */
export async function measureLibrary(
  placement: CpuPlacement,
  length: number,
  credentials: string | undefined,
): Promise<LibraryFigures> {
  const roundTrip = await roundTrips(credentials);
  await using pair = await LibraryPair.start(placement, credentials);
  const { source, destination } = await pair.both(
    { do: "send", length },
    { do: "receive", length },
  );
  const gigabytes = length / 1e9;
  return {
    cipher: pair.cipher,
    rate: length / destination.samples[0]! * 1e9,
    sourceCpu: source.cpu / gigabytes,
    destinationCpu: destination.cpu / gigabytes,
    roundTrip,
  };
}

async function roundTrips(credentials: string | undefined) {
  await using pair = await LibraryPair.start("one-cpu", credentials);
  const { destination } = await pair.both(
    { do: "answer", count: WARM_UP + REQUESTS },
    { do: "request", count: REQUESTS, warmUp: WARM_UP },
  );
  const { count, mean, p99 } = summarise(destination.samples);
  return { count, mean, p99 };
}
