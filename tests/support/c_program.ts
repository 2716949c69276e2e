/** Programs in C of the tests' own: built once for a process of tests, and gone with it. */

const built = new Map<string, Promise<string>>();

/**
 * Builds a program.
 *
 * @param source address of its source, as `import.meta.resolve` gives it
 * @returns its path
 */
export function programOf(source: string): Promise<string> {
  let program = built.get(source);
  if (program === undefined) built.set(source, program = build(new URL(source).pathname));
  return program;
}

async function build(source: string): Promise<string> {
  const directory = await Deno.makeTempDir({ prefix: "postcopy-program-" });
  globalThis.addEventListener("unload", () => Deno.removeSync(directory, { recursive: true }));
  const program = `${directory}/program`;
  const args = ["-O2", "-pthread", "-o", program, source];
  const { success, stderr } = await new Deno.Command("gcc", { args }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return program;
}
