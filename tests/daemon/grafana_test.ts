/** The dashboard in contrib/ asks for what is exported. */
import { assert, assertEquals } from "@std/assert";
import { Metrics } from "../../daemon/metrics/metrics.ts";
import { EventLog } from "../../daemon/service/event_log.ts";

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
}

const text = await Deno.readTextFile(
  new URL("../../contrib/grafana/postcopy.json", import.meta.url),
);
const { panels, templating } = JSON.parse(text) as {
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly query: unknown }[] };
};

/** Names of metrics in an expression; a histogram's series by the name of the histogram. */
function namesIn(expression: string): string[] {
  return [...expression.matchAll(/\b(?:postcopy|process)_[a-z_]+/g)]
    .map(([name]) => name.replace(/_seconds_bucket$/, "_seconds"));
}

Deno.test("the dashboard asks for nothing that Metrics does not export", () => {
  using metrics = new Metrics({ events: new EventLog(), list: () => [] });
  const exported = new Set(metrics.families().map(({ name }) => name));
  const expressions = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  const asked = [...expressions, ...templating.list.map(({ query }) => JSON.stringify(query))]
    .flatMap(namesIn);
  assert(asked.length > 20);
  assertEquals(asked.filter((name) => !exported.has(name)), []);
});

Deno.test("the dashboard shows every total that Metrics exports", () => {
  using metrics = new Metrics({ events: new EventLog(), list: () => [] });
  const asked = new Set(
    panels.flatMap(({ targets = [] }) => targets.flatMap(({ expr }) => namesIn(expr))),
  );
  const totals = metrics.families().map(({ name }) => name)
    .filter((name) => /^postcopy_(?!session_)/.test(name) && name !== "postcopy_build_info");
  // How many pages there were is seen in bytes.
  assertEquals(totals.filter((name) => !asked.has(name)), ["postcopy_pages_total"]);
});

Deno.test("the dashboard's rates are of counters, and its panels have numbers of their own", () => {
  for (const { targets = [] } of panels) {
    for (const { expr } of targets) {
      for (const [, name] of expr.matchAll(/\b(?:rate|increase)\(([a-z_]+)/g)) {
        assert(/_total$|_bucket$/.test(name!), expr);
      }
    }
  }
  assertEquals(new Set(panels.map(({ id }) => id)).size, panels.length);
});
