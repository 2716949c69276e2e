/** Functions of Deno that tell what is done with them, or fail. */

/** Runs with one of Deno's functions replaced, which the replacement calls. */
export async function replacing<K extends string, F>(
  owner: { [key in K]: F },
  name: K,
  replace: (original: F) => F,
  run: () => Promise<void>,
): Promise<void> {
  const original = owner[name];
  owner[name] = replace(original);
  try {
    await run();
  } finally {
    owner[name] = original;
  }
}
