/** A peer that is gone without a word: its host is down, or a cable pulled. */
import "../support/native.ts";
import { assertMatch } from "@std/assert";
import { inNamespaces, needsNamespaces } from "../support/namespaces.ts";
import { testUnless } from "../support/skip.ts";
import type { SilenceReport } from "./silence.ts";

testUnless(
  needsNamespaces(),
  "Source, Destination and ImageReceiver notice that the other end is gone without a word",
  async () => {
    const report = await inNamespaces<SilenceReport>("tests/end_to_end/silence.ts");
    // A source that sends may notice it first, by what is not taken any more.
    const kernel = "went away: [a-z ]+: E[A-Z]+: no sign of life, .*";
    const sender = "has taken nothing on the main channel for .*";
    const silent = new RegExp(`^(?:Source|Destination) (?:${kernel}|${sender})--stall-timeout`);
    for (const [end, said] of Object.entries(report)) assertMatch(said, silent, end);
  },
);
