/** postcopy on a host, installed by the lines of docs/daemon.md. */

import { assertEquals } from "@std/assert";
import { DaemonCalls } from "../daemon/daemon_calls.ts";
import { blocksOf, readDocument, sectionOf, shellLines } from "../support/documents.ts";
import type { SystemdHost } from "./systemd_host.ts";
import { Unit } from "./unit.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
/** What only tests and the set-up need, or the set-up makes. */
const LEFT_OUT = ["tests", "bench", "demo", "tools", "node_modules"];
const HEADING = "## From a bare Debian host to a guest that runs";
/** Lines that want a network: what they bring, the host has. */
const OF_THE_NETWORK = /^(apt-get|npm|git) /;
const CACHE = "/var/lib/postcopy/.cache";
const SERVICE = "postcopy.service";
/** Where the service looks for images. */
const IMAGES = "/var/lib/postcopy/images";

/**
 * The lines of that section's block that has a word, but those of the network.
 *
 * @param word which only one of its blocks has
 */
export async function documentedBlock(word: string): Promise<string[]> {
  const blocks = blocksOf(sectionOf(await readDocument("docs/daemon.md"), HEADING), "sh");
  const found = blocks.filter((block) => block.includes(word));
  assertEquals(found.length, 1, `${word}: ${blocks}`);
  return shellLines(found[0]!).filter((line) => !OF_THE_NETWORK.test(line));
}

/** Puts this checkout where the document has one, and installs the command. */
export async function installCommand(host: SystemdHost): Promise<void> {
  const entries = [...Deno.readDirSync(ROOT)].map(({ name }) => name)
    .filter((name) => !name.startsWith(".") && !LEFT_OUT.includes(name));
  await host.run("mkdir", "/opt/postcopy");
  const { success, stderr } = await new Deno.Command("cp", {
    args: ["-r", ...entries.map((name) => ROOT + name), `${host.root}/opt/postcopy`],
  }).output();
  assertEquals(success, true, new TextDecoder().decode(stderr));
  await host.run("chmod", "-R", "go+rX", "/opt/postcopy");
  await host.shell(...await documentedBlock("deno install"));
}

/** The service postcopy of a host. */
export class Installation {
  readonly unit: Unit;
  /** What the lines printed that made it. */
  readonly printed: string;
  readonly #host: SystemdHost;

  private constructor(host: SystemdHost, printed: string) {
    this.#host = host;
    this.printed = printed;
    this.unit = new Unit(host, SERVICE);
  }

  /** Installs it. */
  static async on(host: SystemdHost): Promise<Installation> {
    await installCommand(host);
    const lines = await documentedBlock("systemctl enable");
    // The packages are in that cache already: its directories are to be as Deno would have made them.
    const check = lines.findIndex((line) => line.includes("--check"));
    const own = `install -d -o postcopy -g postcopy ${CACHE} ${CACHE}/deno`;
    const all = ["cd /opt/postcopy", ...lines.toSpliced(check, 0, own)];
    try {
      return new Installation(host, await host.shell(...all));
    } catch (error) {
      const journal = await new Unit(host, SERVICE).journal();
      throw new Error(`Not installed: ${journal}`, { cause: error });
    }
  }

  /** A daemon to be asked, as it runs now. */
  async daemon(): Promise<DaemonCalls> {
    const calls = new DaemonCalls(`${this.#host.root}/run/postcopy/daemon.sock`);
    await calls.answers();
    return calls;
  }

  /** Puts files into the directory of images, for root alone. */
  async putImages(files: Readonly<Record<string, Uint8Array>>): Promise<void> {
    for (const [name, bytes] of Object.entries(files)) {
      await Deno.writeFile(`${this.#host.root}${IMAGES}/${name}`, bytes, { mode: 0o600 });
    }
  }

  /** Puts an image and what belongs to it there, for the service to read; it has the name of its file. */
  async putImage(path: string): Promise<void> {
    const name = path.replace(/.*\//, "");
    const names = [name, `${name}.json`, `${name}.devices`];
    const files = names.map((each) => [each, Deno.readFileSync(path.replace(/[^/]*$/, each))]);
    await this.putImages(Object.fromEntries(files));
    await this.#host.run("chown", "postcopy", ...names.map((each) => `${IMAGES}/${each}`));
  }

  /** Files of guests that may run, and of sessions that are gone on with. */
  get kept(): string[] {
    const names = (directory: string) =>
      [...Deno.readDirSync(`${this.#host.root}${directory}`)].map(({ name }) => name);
    return [...names(IMAGES), ...names("/var/lib/postcopy/state")]
      .filter((name) => /\.postcopy-handover-|\.session\.json$/.test(name));
  }
}
