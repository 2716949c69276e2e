/**
 * The packages that deno.json and npm.json pin, read from there so that a version is written down once.
 */

/** One pinned package. */
export interface Pin {
  /** Name in its registry, as `@std/assert`. */
  readonly name: string;
  /** Exact version. */
  readonly version: string;
}

/**
 * Lists the packages of one registry: of JSR those that deno.json imports, of npm those of npm.json.
 *
 * @param registry `jsr` or `npm`.
 * @returns The packages in the order of that file.
 * @throws {Error} When a package is not pinned to one version.
 */
export async function packages(registry: "jsr" | "npm"): Promise<Pin[]> {
  const file = registry === "jsr" ? "../deno.json" : "../npm.json";
  const text = await Deno.readTextFile(new URL(file, import.meta.url));
  const { imports } = JSON.parse(text) as { imports: Record<string, string> };
  const pins: Pin[] = [];
  for (const specifier of Object.values(imports)) {
    if (!specifier.startsWith(`${registry}:`)) continue;
    const match = /^\w+:(@?[^@]+)@(\d+\.\d+\.\d+)$/.exec(specifier);
    const [, name, version] = match ?? [];
    if (name === undefined || version === undefined) {
      throw new Error(`Package not pinned to a version, write it as NAME@1.2.3: ${specifier}`);
    }
    pins.push({ name, version });
  }
  return pins;
}
