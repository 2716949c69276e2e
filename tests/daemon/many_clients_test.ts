/** Many who ask a daemon while it serves pages. */
import "../support/native.ts";
import { assertEquals, assertLess } from "@std/assert";
import { ApiClient } from "../../daemon/command/api_client.ts";
import type { SessionView } from "../../daemon/service/session.ts";
import { until, within } from "../support/deadline.ts";
import { TestImage } from "../support/images.ts";
import { DaemonPlace } from "./daemon_process.ts";
import { Waiting } from "./destinations.ts";
import { completes, PAGES } from "./held_off.ts";

const CLIENTS = 200;
/** Questions of each client while pages go. */
const QUESTIONS = 5;

Deno.test("daemon answers 200 clients, each on connections of its own, while pages are served, and loses none", async () => {
  using image = await TestImage.make(PAGES);
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  await using waiting = await Waiting.start();
  const daemon = await place.start();
  // Pages go all the time, and are far from done however long the answers take.
  const { id } = await daemon.migrate("vm", waiting.to, { maxPostcopyBandwidth: 1 << 16 });
  await waiting.runs();
  const clients = Array.from(
    { length: CLIENTS },
    () => new ApiClient({ address: { transport: "unix", path: place.socket } }),
  );
  try {
    const answered = await within(
      "all answers",
      Promise.all(clients.map(async (client, number) => {
        let answers = 0;
        for (let question = 0; question < QUESTIONS; question++) {
          // Some read the events beside, and leave in the midst of them.
          if (number % 4 === question) {
            const leave = new AbortController();
            const events = client.events(leave.signal, "0");
            const { done } = await events.next();
            assertEquals(done, false);
            leave.abort();
            await events.return(undefined);
          }
          const session = await client.ask<SessionView>(`/migrations/${id}`);
          assertEquals(session.id, id);
          answers++;
        }
        return answers;
      })),
    );
    assertEquals(answered, Array(CLIENTS).fill(QUESTIONS));
  } finally {
    for (const client of clients) client.close();
  }
  const { received, pages } = waiting.destination.statistics();
  assertLess(received, pages);
  await completes(daemon, id, image, waiting);
  // The descriptors of those who left are closed.
  const { code, errors } = await daemon.end();
  assertEquals(code, 0, errors);
});

Deno.test("daemon has as many descriptors as before when 200 clients have left it", async () => {
  using image = await TestImage.make({ ram: 64 });
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  const daemon = await place.start();
  const descriptors = () => [...Deno.readDirSync(`/proc/${daemon.pid}/fd`)].length;
  const round = async () => {
    const clients = Array.from(
      { length: CLIENTS },
      () => new ApiClient({ address: { transport: "unix", path: place.socket } }),
    );
    await within("answers", Promise.all(clients.map((client) => client.ask("/health"))));
    for (const client of clients) client.close();
  };
  await round(); // what is made once is made by then
  const before = descriptors();
  await round();
  await until("the descriptors to be closed", () => descriptors() <= before);
});
