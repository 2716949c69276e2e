/** The daemon's page: looks once a second, and at once when something happened. */

import { call, followEvents, hasToken, Problem, setToken } from "./api.js";
import { Detail } from "./detail.js";
import { ask, askToken, offerStart } from "./dialogs.js";
import { setAttribute, setText, show, the } from "./dom.js";
import { bytes, figuresOf, isOver } from "./format.js";
import { History } from "./history.js";
import { showList } from "./session_list.js";

/** Milliseconds from one look to the next, and after an event. */
const LOOK = 1000;
const SOON = 80;
const MIB = 1 << 20;

const detail = new Detail();
const histories = new Map();
const logs = new Map();
/** Ended sessions that are listed, and sessions of which what happened is kept. */
const ENDED = 50;
const LOGGED = 1000;

let sessions = [];
let statuses;
let timer;
let looking = false;
let lines = 0;
/** The session that has ended whose last map is shown. */
let lastMap;

/** The session that the address names, else the newest. */
function selected() {
  const named = decodeURIComponent(location.hash.slice(1));
  const newest = () =>
    sessions.reduce(
      (one, other) => one === undefined || other.startedAt > one.startedAt ? other : one,
      undefined,
    );
  return sessions.find(({ id }) => id === named) ?? newest();
}

function draw() {
  const session = selected();
  showList(sessions, session?.id);
  detail.show(session, histories.get(session?.id), logs.get(session?.id) ?? []);
  document.title = session === undefined ? "postcopy" : `${session.image}: ${session.status}`;
}

function lookIn(milliseconds) {
  clearTimeout(timer);
  timer = setTimeout(look, milliseconds);
}

/** Asks for everything that is shown. */
async function look() {
  if (looking) return lookIn(LOOK);
  if (document.hidden) return; // its becoming visible asks
  looking = true;
  try {
    const [{ migrations }, { lazy }] = await Promise.all([
      call(`/migrations?ended=${ENDED}`),
      call("/lazy"),
    ]);
    take([...migrations, ...lazy]);
    connected("live", "Connected");
    follow();
    await lookAtMap();
  } catch (error) {
    if (error instanceof Problem && error.status === 401) {
      connected("lost", "Not let in");
      await askToken(hasToken() ? "The daemon does not take this token." : undefined);
    } else {connected(
        "lost",
        error instanceof Problem ? error.message : "The daemon cannot be reached",
      );}
  } finally {
    looking = false;
    lookIn(LOOK);
  }
}

async function lookAtMap() {
  const session = selected();
  if (session === undefined) return;
  const { id, direction, endedAt } = session;
  if (direction === "lazy") return detail.showMap(id, undefined);
  if (lastMap === id) return;
  try {
    const map = await call(`/migrations/${encodeURIComponent(id)}/map?cells=${detail.cells}`);
    detail.showMap(id, map);
    lastMap = endedAt === undefined ? undefined : id;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    detail.showMap(id, undefined);
  }
}

/** Notes what the daemon told, and shows it. */
function take(told) {
  const now = Date.now();
  sessions = told;
  const ids = new Set(sessions.map(({ id }) => id));
  for (const id of histories.keys()) if (!ids.has(id)) histories.delete(id);
  if (logs.size > LOGGED) { for (const id of logs.keys()) if (!ids.has(id)) logs.delete(id); }
  for (const session of sessions) {
    if (!histories.has(session.id)) histories.set(session.id, new History());
    // What is over stays as it was.
    if (isOver(session.status) && statuses?.get(session.id) === session.status) continue;
    histories.get(session.id).note(now, figuresOf(session));
  }
  announce();
  draw();
}

/** Says to who cannot see it what has changed. */
function announce() {
  const before = statuses;
  statuses = new Map(sessions.map(({ id, status }) => [id, status]));
  if (before === undefined) return; // what was there is read by whoever wants to know
  const changes = sessions.filter(({ id, status }) => before.get(id) !== status)
    .map(({ image, status, reason }) =>
      `${image} is ${status}${reason === undefined ? "" : `: ${reason}`}`
    );
  if (changes.length > 0) setText(the("announce"), changes.join(". "));
}

function connected(state, text) {
  setText(the("connection"), text);
  setAttribute(the("connection"), "data-state", state);
  the("start").disabled = state !== "live";
  show(the("leave"), hasToken());
}

/** Notes an event for the session that it is of. */
function heard(name, event) {
  lookIn(SOON);
  const id = event.id ?? event.session?.id;
  if (id === undefined) return;
  const { time, status, reason, text } = { ...event.session, ...event };
  if (name === "ended") return; // its status has said so
  const what = text ?? (name === "status" ? status : name);
  if (!logs.has(id)) logs.set(id, []);
  const log = logs.get(id);
  log.push({
    id: lines++,
    time: time ?? new Date().toISOString(),
    text: reason === undefined ? what : `${what}: ${reason}`,
  });
  if (log.length > 400) log.shift();
}

let following = false;

/** Hears of events; more than one stream is of no use. */
function follow() {
  if (following) return;
  following = true;
  void followEvents(heard);
}

/** Does something to a migration, and looks what became of it. */
function act({ id }, path, body = {}) {
  return call(`/migrations/${encodeURIComponent(id)}${path}`, { method: "POST", body })
    .finally(() => lookIn(SOON));
}

/** For what cannot be asked beforehand: a refusal is shown. */
async function actNow(path, what) {
  const session = selected(); // another may be shown before it is tried again
  try {
    await act(session, path);
  } catch (error) {
    ask(
      { title: `${what} was refused`, text: error.message, go: "Try again" },
      () => act(session, path).then(() => {}),
    );
  }
}

the("pause").addEventListener("click", () => actNow("/pause", "Pausing"));
the("postcopy").addEventListener("click", () => actNow("/postcopy", "Switching"));
the("recover").addEventListener("click", () => {
  const session = selected(); // while this is asked a newer one may come to be shown
  const { image, direction, peer } = session;
  const outgoing = direction === "outgoing";
  ask({
    title: `Recover ${image}`,
    text: outgoing
      ? "It connects to the destination again, and sends what that lacks. Leave the address as it is, unless " +
        "the destination was told to listen elsewhere (QEMU: migrate-recover)."
      : "It listens for the source to resume. Leave the address as it is, unless it should listen elsewhere too.",
    field: outgoing ? "Destination" : "Listen at",
    value: peer,
    go: "Recover",
  }, async (to) => void await act(session, "/recover", to === "" || to === peer ? {} : { to }));
});

the("limit").addEventListener("click", () => {
  const session = selected();
  ask({
    title: `Limit ${session.image}`,
    text:
      "How fast pages go that nobody waits for. Pages that the guest waits for are never limited. " +
      "Empty: no limit.",
    field: "MiB a second",
    go: "Set",
  }, async (text) => {
    const limit = text === "" ? 0 : Number(text.replace(",", "."));
    if (!(limit >= 0)) throw new Error(`No number of MiB a second: ${text}`);
    await call(`/migrations/${encodeURIComponent(session.id)}`, {
      method: "PATCH",
      body: { maxPostcopyBandwidth: Math.round(limit * MIB) },
    });
  });
});

/** The path of a session, of either kind. */
function pathOf({ id, direction }) {
  return `/${direction === "lazy" ? "lazy" : "migrations"}/${encodeURIComponent(id)}`;
}

the("cancel").addEventListener("click", () => {
  const session = selected();
  const { done, total, processes } = figuresOf(session);
  const lazy = session.direction === "lazy";
  const cancel = (force) =>
    call(`${pathOf(session)}/cancel`, { method: "POST", body: force ? { force } : {} })
      .finally(() => lookIn(SOON));
  ask({
    title: `Cancel ${session.image}?`,
    text: lazy
      ? `Processes that it serves: ${processes}.`
      : `${bytes(total - done)} of ${bytes(total)} have not gone yet.`,
    go: "Cancel it",
    danger: true,
  }, async () => {
    try {
      await cancel(false);
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 409) throw error;
      return [{
        title: lazy ? "Processes would stop" : "A guest would be lost",
        text: error.message,
        go: "Cancel all the same",
        danger: true,
      }, async () => void await cancel(true)];
    }
  });
});

the("remove").addEventListener("click", async () => {
  await call(pathOf(selected()), { method: "DELETE" }).catch(() => {});
  lookIn(SOON);
});

the("leave").addEventListener("click", () => {
  setToken("");
  location.reload();
});

offerStart(({ id }) => {
  location.hash = encodeURIComponent(id);
  lookIn(SOON);
  detail.focus();
});

globalThis.addEventListener("hashchange", () => {
  draw();
  lookIn(0);
});
document.addEventListener("visibilitychange", () => lookIn(0));
look();
