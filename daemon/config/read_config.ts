/** Reading a configuration. */

import { parseSocketAddress } from "../../ffi/socket_address.ts";
import { UsageError } from "../../migration/command/arguments.ts";
import type { z } from "../npm/zod_openapi.ts";
import { defined } from "../schema/defined.ts";
import { explain, placeText } from "../schema/explain.ts";
import { lazyDefaults, receiveDefaults, serveDefaults } from "./command_sections.ts";
import type { ApiConfig, DaemonConfig, TcpConfig } from "./config.ts";
import { ConfigError, type ConfigFault } from "./config_error.ts";
import { configSchema } from "./config_schema.ts";
import { parseJson } from "./json_file.ts";
import type { Lines } from "./located.ts";
import { parseToml } from "./toml_file.ts";

type Parsed = z.output<typeof configSchema>;

/**
 * Reads a configuration's file: JSON when its name ends so, else TOML.
 *
 * @throws {ConfigError} naming each line that is wrong, and what was meant
 */
export async function readConfig(path: string): Promise<DaemonConfig> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    const why = error instanceof Deno.errors.NotFound
      ? "No such configuration: name one with --config FILE"
      : `Configuration that cannot be read: ${(error as Error).message}`;
    throw new ConfigError(path, [{ line: 0, message: why }]);
  }
  return parseConfig(path, text);
}

/**
 * Reads the text of a configuration.
 *
 * @param path the file's name
 * @throws {ConfigError} as {@linkcode readConfig}
 */
export function parseConfig(path: string, text: string): DaemonConfig {
  const { value, lines } = (path.endsWith(".json") ? parseJson : parseToml)(path, text);
  const result = configSchema.safeParse(value);
  if (!result.success) {
    const faults = explain(configSchema, result.error, value).map(({ path: place, message }) => ({
      line: lines.of(place),
      message: messageAt(place, message),
    }));
    throw new ConfigError(path, faults.sort((one, other) => one.line - other.line));
  }
  return new Reader(path, lines).config(result.data);
}

/** An unknown key is named by its message; of others the place tells which is meant. */
function messageAt(place: readonly PropertyKey[], message: string): string {
  if (message.startsWith("Unknown key")) {
    const table = placeText(place.slice(0, -1));
    return table === "" ? message : `${message} (in ${table})`;
  }
  return place.length === 0 ? message : `${placeText(place)}: ${message}`;
}

/** Makes what the daemon uses of what the file says; what is wrong is gathered. */
class Reader {
  readonly #path: string;
  readonly #lines: Lines;
  readonly #faults: ConfigFault[] = [];

  constructor(path: string, lines: Lines) {
    this.#path = path;
    this.#lines = lines;
  }

  config(parsed: Parsed): DaemonConfig {
    const { stateDirectory, images, limits, directories, log } = parsed;
    const api = this.#api(parsed.api);
    const serve = this.#section("serve", () => serveDefaults(parsed.serve));
    const receive = this.#section("receive", () => receiveDefaults(parsed.receive));
    const lazy = this.#section("lazy", () => lazyDefaults(parsed.lazy));
    for (const name of Object.keys(images.files)) {
      if (/^\.|\//.test(name) || name === "") {
        this.#fault(["images", "files", name], "Name of an image with a slash, or a dot in front");
      }
    }
    if (this.#faults.length > 0) throw new ConfigError(this.#path, this.#faults);
    return {
      path: this.#path,
      stateDirectory,
      images: { directory: images.directory, files: images.files },
      api: api!,
      limits: { ...limits, memory: limits.memory ?? Infinity },
      directories: {
        sockets: directories.sockets,
        credentials: directories.credentials,
        criu: directories.criu,
      },
      log,
      serve: serve!,
      receive: receive!,
      lazy: lazy!,
    };
  }

  #api({ socket, group, tcp }: Parsed["api"]): ApiConfig | undefined {
    if (socket === "" && tcp === undefined) {
      this.#fault(["api", "socket"], "Nobody could ask: give api.socket a path, or api.tcp too");
    }
    return {
      socket: socket === "" ? undefined : socket,
      group,
      tcp: tcp === undefined ? undefined : this.#tcp(tcp),
    };
  }

  #tcp(tcp: NonNullable<Parsed["api"]["tcp"]>): TcpConfig | undefined {
    const { listen, tls, insecure } = tcp;
    if (tls === undefined && !insecure) {
      this.#fault(
        ["api", "tcp"],
        `Token and answers would pass in clear: ${listen}: give api.tcp.tls a cert and a key, or say ` +
          "insecure = true",
      );
    }
    if (tls !== undefined && insecure) {
      this.#fault(["api", "tcp", "insecure"], "Both tls and insecure given: leave out insecure");
    }
    try {
      const address = parseSocketAddress(listen);
      if (address.transport === "tcp") return defined({ ...tcp, listen: address });
      this.#fault(["api", "tcp", "listen"], `No address of TCP: ${listen}: write tcp:HOST:PORT`);
    } catch (error) {
      this.#fault(["api", "tcp", "listen"], (error as Error).message);
    }
    return undefined;
  }

  /** Reads the options of a command, which says by `--name` what is wrong. */
  #section<T>(name: string, read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      const [, option] = /--([a-z-]+)/.exec(error.message) ?? [];
      const place = option === undefined ? [name] : [name, option];
      this.#fault(place, error.message);
      return undefined;
    }
  }

  #fault(place: readonly PropertyKey[], message: string): void {
    this.#faults.push({ line: this.#lines.of(place), message: messageAt(place, message) });
  }
}
