/** The list of sessions. */

import { keyed, make, setAttribute, setText, show, the } from "./dom.js";
import { figuresOf, isOver, share, tone, whereTo } from "./format.js";

/** Shows the sessions, the newest first, and which of them is looked at. */
export function showList(sessions, selected) {
  const items = [...sessions]
    .sort((one, other) => one.startedAt < other.startedAt ? 1 : -1)
    .map((session) => ({ key: session.id, session }));
  keyed(the("sessions"), items, create, (item, { session }) => update(item, session, selected));
  const running = sessions.filter(({ status }) => !isOver(status)).length;
  setText(the("sessions-count"), items.length === 0 ? "" : `${running} of ${items.length} running`);
  show(the("sessions-none"), items.length === 0);
}

function create({ session: { id } }) {
  const link = make("a", "session");
  link.href = `#${encodeURIComponent(id)}`;
  const bar = make("progress", "");
  bar.max = 1;
  bar.setAttribute("aria-label", "Progress");
  link.append(
    make("span", "name"),
    make("span", "status"),
    make("span", "where"),
    make("span", "share"),
    make("span", "bar", bar),
  );
  return make("li", "", link);
}

function update(item, session, selected) {
  const link = item.firstElementChild;
  const [name, status, where, done, bar] = link.children;
  const { done: bytes, total } = figuresOf(session);
  setText(name, session.image);
  setText(status, session.status);
  setAttribute(status, "data-tone", tone(session.status));
  setText(where, whereTo(session));
  setText(done, total > 0 ? share(bytes, total) : "");
  bar.firstElementChild.value = total > 0 ? bytes / total : 0;
  link.classList.toggle("paused", session.status === "postcopy-paused");
  setAttribute(link, "aria-current", session.id === selected ? "true" : undefined);
}
