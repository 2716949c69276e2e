/** A daemon that runs somewhere, and how tests ask it. */

import { ApiClient } from "../../daemon/command/api_client.ts";
import { NoDaemonError } from "../../daemon/command/api_error.ts";
import type { SessionStatus, SessionView } from "../../daemon/service/session.ts";
import { until, within } from "../support/deadline.ts";

/** What may stand in a request, by its names. */
type Body = Readonly<Record<string, unknown>>;

/** A daemon that can be asked at its socket. */
export class DaemonCalls implements Disposable {
  readonly client: ApiClient;

  /** @param socket its path */
  constructor(socket: string) {
    this.client = new ApiClient({ address: { transport: "unix", path: socket } });
  }

  /**
   * Waits until it answers.
   *
   * @param look called as long as it does not
   */
  async answers(look: () => Promise<void> | void = () => {}): Promise<void> {
    await until("the daemon to answer", async () => {
      await look();
      try {
        await this.client.ask("/health");
        return true;
      } catch (error) {
        if (error instanceof NoDaemonError) return false;
        throw error;
      }
    });
  }

  /** Starts a migration of an image. */
  async migrate(
    image: string,
    to: string,
    more: Body = {},
    headers: Readonly<Record<string, string>> = {},
  ): Promise<SessionView> {
    const body = { direction: "outgoing", image, to, order: "off", ...more };
    return await this.client.ask<SessionView>("/migrations", { method: "POST", body, headers });
  }

  /** A migration as it is now. */
  async session(id: string): Promise<SessionView> {
    return await this.client.ask<SessionView>(`/migrations/${id}`);
  }

  /** Waits until a migration stands somewhere, or has ended. */
  async reaches(id: string, status: SessionStatus | "ended"): Promise<SessionView> {
    const path = `/migrations/${id}/wait?for=${status}&timeout=60`;
    return await within(`${id} to be ${status}`, this.client.ask<SessionView>(path));
  }

  [Symbol.dispose](): void {
    this.client.close();
  }
}
