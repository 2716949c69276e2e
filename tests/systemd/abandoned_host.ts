/** Starts a host, says where its processes are, and fails: started by units_test.ts. */

import { SystemdHost } from "./systemd_host.ts";

const host = await SystemdHost.start();
await Deno.stdout.write(new TextEncoder().encode(`${host.cgroup}\n`));
throw new Error("abandoned"); // Deno kills what it has started, and waits for nothing
