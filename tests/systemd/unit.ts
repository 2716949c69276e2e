/** A unit of a host's systemd, as tests look at it. */

import { until } from "../support/deadline.ts";
import type { SystemdHost } from "./systemd_host.ts";

/** What a drop-in says of a service. */
export type ServiceSettings = Readonly<Record<string, string>>;

/** Milliseconds between two looks: each takes processes of its own, which tests beside these want the time of. */
const LOOK_EVERY = 20;

async function comesTrue(what: string, holds: () => Promise<boolean>): Promise<void> {
  await until(what, async () => {
    if (await holds()) return true;
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY));
    return false;
  });
}

/** A unit. */
export class Unit {
  readonly #host: SystemdHost;
  readonly name: string;

  /** @param name with its suffix */
  constructor(host: SystemdHost, name: string) {
    this.#host = host;
    this.name = name;
  }

  /** What `systemctl show` says of a property. */
  async show(property: string): Promise<string> {
    return await this.#host.run("systemctl", "show", "--value", "--property", property, this.name);
  }

  /** The number of its main process as the host sees it; 0 when there is none. */
  async mainPid(): Promise<number> {
    return Number(await this.show("MainPID"));
  }

  /** How often systemd has started it by itself. */
  async restarts(): Promise<number> {
    return Number(await this.show("NRestarts"));
  }

  /** Has systemd do something to it, and waits until that is done. */
  async control(verb: string, ...more: string[]): Promise<void> {
    await this.#host.run("systemctl", verb, ...more, this.name);
  }

  /** Waits until a property is so. */
  async comes(property: string, holds: (value: string) => boolean): Promise<void> {
    await comesTrue(`${property} of ${this.name}`, async () => holds(await this.show(property)));
  }

  /** Does something that has its process end, and waits until systemd has started another, which is ready. */
  async startedAgainAfter(deed: () => Promise<void>): Promise<void> {
    const before = await this.restarts();
    await deed();
    await comesTrue(`${this.name} to be started again`, async () => {
      return await this.restarts() > before && await this.show("ActiveState") === "active";
    });
  }

  /** What it has said so far, and systemd of it. */
  async journal(): Promise<string> {
    return await this.#host.run("journalctl", "--output", "cat", "--unit", this.name);
  }

  /** Waits until the journal has a text more often than so many times. */
  async says(text: string, times = 0): Promise<void> {
    await comesTrue(`${this.name} to say ${text}`, async () => await this.said(text) > times);
  }

  /** How often the journal has a text. */
  async said(text: string): Promise<number> {
    return (await this.journal()).split(text).length - 1;
  }

  /** Writes a file below /etc/systemd/system, a unit or a drop-in, and has systemd read it. */
  async write(file: string, text: string): Promise<void> {
    const path = `${this.#host.root}/etc/systemd/system/${file}`;
    await Deno.mkdir(path.replace(/\/[^/]*$/, ""), { recursive: true });
    await Deno.writeTextFile(path, text);
    await this.#host.run("systemctl", "daemon-reload");
  }

  /** Has it run with other settings from the next start on, until what is returned is disposed of. */
  async changed(settings: ServiceSettings): Promise<AsyncDisposable> {
    const file = `${this.name}.d/test.conf`;
    const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}\n`);
    await this.write(file, `[Service]\n${lines.join("")}`);
    return {
      [Symbol.asyncDispose]: async () => {
        await Deno.remove(`${this.#host.root}/etc/systemd/system/${file}`);
        await this.#host.run("systemctl", "daemon-reload");
      },
    };
  }
}
