/** What the processes of a run of all tests do: each a part of them, several at once. */

/**
 * Directories whose tests are a part, those that take longest first: what begins last should be short.
 * The rest, such as the examples in the documentation, is a part too.
 *
 * No test may notice what another process of tests does: ports are free ones, namespaces and files bear
 * names of their own, and huge pages are had by one at a time (tests/huge/granted_pages.ts).
 */
export const PARTS: readonly (readonly string[])[] = [
  ["tests/daemon"],
  ["tests/interop"],
  ["tests/end_to_end"],
  ["tests/bench"],
  ["tests/systemd"],
  ["tests/destination", "tests/receive"],
  ["tests/live"],
  ["tests/huge", "tests/order", "tests/hot"],
  ["tests/lazy", "tests/hostile"],
  ["tests/campaign", "tests/multifd", "tests/dirty", "tests/ffi", "tests/qemu"],
  ["tests/channel", "tests/command", "tests/device", "tests/image", "tests/machine"],
  [
    "tests/memory",
    "tests/protocol",
    "tests/report",
    "tests/sending",
    "tests/sessions",
    "tests/switchover",
  ],
  ["tests/compression", "tests/threads", "tests/tls", "tests/tools", "tests/workload"],
];

/**
 * The arguments of `deno test` for each part of all tests.
 *
 * @param excluded paths that no part has
 */
export function allParts(excluded: readonly string[]): string[][] {
  return [
    [`--ignore=${[...excluded, ...PARTS.flat()].join(",")}`],
    ...PARTS.map((part) => [...part]),
  ];
}

/**
 * Divides files among the parts.
 *
 * @param files paths relative to the checkout
 * @returns those of each part that has any
 */
export function partsOf(files: readonly string[]): string[][] {
  const isOf = (part: readonly string[], file: string): boolean =>
    part.some((directory) => file.startsWith(`${directory}/`));
  const parts = PARTS.map((part) => files.filter((file) => isOf(part, file)));
  const rest = files.filter((file) => !PARTS.some((part) => isOf(part, file)));
  return [...parts, rest].filter(({ length }) => length > 0);
}

/**
 * Runs parts, so many at once; each lane takes the next when it is done with one.
 *
 * @param parts those that take longest first
 * @returns what came of each, in their order
 */
export async function inLanes<Part, Result>(
  parts: readonly Part[],
  lanes: number,
  run: (part: Part) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  const left = parts.entries();
  const lane = async () => {
    for (const [index, part] of left) results[index] = await run(part);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return results;
}
