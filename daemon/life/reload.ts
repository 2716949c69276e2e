/** What a reload cannot change. */

import type { DaemonConfig } from "../config/config.ts";

/**
 * What of another configuration holds from the next start on alone.
 *
 * @param running what the daemon was started with
 * @param read what the file says now
 * @returns a sentence for each
 */
export function unchangeable(running: DaemonConfig, read: DaemonConfig): string[] {
  const places: readonly (readonly [string, (config: DaemonConfig) => unknown])[] = [
    ["stateDirectory", ({ stateDirectory }) => stateDirectory],
    ["api.socket", ({ api }) => api.socket],
    ["api.group", ({ api }) => api.group],
    ["api.tcp.listen", ({ api }) => api.tcp?.listen],
    ["api.tcp.tls", ({ api }) => api.tcp?.tls],
  ];
  return places.flatMap(([name, of]) => {
    const [before, now] = [of(running), of(read)].map((value) =>
      JSON.stringify(value) ?? "nothing"
    );
    return before === now
      ? []
      : [`${name} stays ${before} until the next start, and is ${now} from then on`];
  });
}
