/** What the page asks its user. */

import { call, newKey, setToken } from "./api.js";
import { make, setText, show, the } from "./dom.js";
import { bytes } from "./format.js";

for (const dialog of document.querySelectorAll("dialog")) {
  for (const button of dialog.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => dialog.close());
  }
}

/** Says why something did not work, with what to do about it. */
function tell(element, error) {
  const remedy = error.remedy === undefined ? "" : `: ${error.remedy}`;
  setText(element, error === undefined ? "" : `${error.message}${remedy}`);
  show(element, true);
}

/**
 * Asks for one thing, and does it: the dialog stays while it does not work, and says why.
 *
 * @param question `title`, `text`, `go` (the button), `danger`, `field` (a label, where something is to be typed),
 * `value` (what is in it)
 * @param act does it, with what was typed; returns another question to be asked, or nothing
 */
export function ask(question, act) {
  const dialog = the("ask-dialog");
  const go = the("ask-go");
  setText(the("ask-title"), question.title);
  setText(the("ask-text"), question.text);
  setText(go, question.go);
  go.className = question.danger ? "danger" : "primary";
  show(the("ask-field"), question.field !== undefined);
  setText(the("ask-label"), question.field ?? "");
  the("ask-value").value = question.value ?? "";
  show(the("ask-problem"), false);
  the("ask-form").onsubmit = async (event) => {
    event.preventDefault();
    go.disabled = true;
    try {
      const next = await act(the("ask-value").value.trim());
      if (next === undefined) dialog.close();
      else ask(...next);
    } catch (error) {
      tell(the("ask-problem"), error);
    } finally {
      go.disabled = false;
    }
  };
  if (!dialog.open) dialog.showModal();
}

/** Asks for the token, once; resolves when one was given. */
export function askToken(problem) {
  const dialog = the("token-dialog");
  show(the("token-problem"), problem !== undefined);
  setText(the("token-problem"), problem ?? "");
  if (dialog.open) return;
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.oncancel = (event) => event.preventDefault(); // nothing can be done without
    the("token-form").onsubmit = (event) => {
      event.preventDefault();
      setToken(the("token").value.trim());
      the("token").value = "";
      dialog.close();
      resolve();
    };
  });
}

const MIB = 1 << 20;

/** What must be filled in, by what is chosen to be done. */
const REQUIRED = {
  outgoing: ["start-image", "start-to"],
  incoming: ["start-name", "start-listen"],
  firecracker: ["start-socket"],
  criu: ["start-criu"],
};

/** What is chosen to be done. */
function chosen() {
  return document.querySelector("input[name=direction]:checked").value;
}

function textOf(id) {
  return the(id).value.trim();
}

/** What the form says: where it is posted, and as it is taken there. */
function request() {
  const direction = chosen();
  switch (direction) {
    case "outgoing":
      return { path: "/migrations", body: outgoing() };
    case "incoming": {
      const body = { direction, image: textOf("start-name"), listen: textOf("start-listen") };
      return { path: "/migrations", body };
    }
    default:
      return { path: "/lazy", body: lazy(direction) };
  }
}

function outgoing() {
  const limit = Number(textOf("start-bandwidth"));
  const intent = textOf("start-intent");
  return {
    direction: "outgoing",
    image: textOf("start-image"),
    to: textOf("start-to"),
    ...limit > 0 ? { maxPostcopyBandwidth: Math.round(limit * MIB) } : {},
    ...intent === "" ? {} : { [intent]: true },
  };
}

function lazy(kind) {
  const [image, pages] = [textOf("start-memory"), textOf("start-pages")];
  const [fill, onLoss] = [textOf("start-fill"), textOf("start-loss")];
  const what = kind === "criu"
    ? { images: textOf("start-criu"), ...pages === "" ? {} : { pageServer: pages } }
    : {
      socket: textOf("start-socket"),
      ...image === "" ? { from: textOf("start-from") } : { image },
    };
  return {
    kind,
    ...what,
    ...fill === "" ? {} : { fill: fill === "true" },
    ...onLoss === "" ? {} : { onLoss },
  };
}

/** Shows what belongs to what is chosen; the rest need not be filled in. */
function showChosen() {
  const direction = chosen();
  for (const part of document.querySelectorAll("[data-for]")) {
    part.hidden = !part.dataset.for.split(" ").includes(direction);
  }
  for (const [each, ids] of Object.entries(REQUIRED)) {
    for (const id of ids) the(id).required = each === direction;
  }
  const elsewhere = the("start-memory").value === "";
  for (const part of document.querySelectorAll("[data-part=from]")) part.hidden = !elsewhere;
  the("start-from").required = elsewhere && direction === "firecracker";
}

/**
 * Has the user start migrations and lazy sessions.
 *
 * @param started called with each that began
 */
export function offerStart(started) {
  const dialog = the("start-dialog");
  // A request that is sent again, because nobody heard the answer, must not start a second one.
  let key = newKey();
  the("start").addEventListener("click", async () => {
    show(the("start-problem"), false);
    the("start-form").reset();
    key = newKey();
    showChosen();
    dialog.showModal();
    try {
      fillImages((await call("/images")).images);
    } catch (error) {
      tell(the("start-problem"), error);
    }
  });
  the("start-form").addEventListener("change", () => {
    key = newKey();
    showChosen();
  });
  the("start-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    the("start-go").disabled = true;
    try {
      const { path, body } = request();
      const session = await call(path, { method: "POST", body, key });
      dialog.close();
      started(session);
    } catch (error) {
      tell(the("start-problem"), error);
    } finally {
      the("start-go").disabled = false;
    }
  });
}

function fillImages(images) {
  const options = images.map(({ name, size }) => [name, `${name} (${bytes(size)})`]);
  fillSelect(the("start-image"), options);
  fillSelect(the("start-memory"), [...options, ["", "An image at a page server"]]);
  showChosen();
}

/** Fills a list of values and what they are called; what was chosen stays so, where it is there. */
function fillSelect(select, options) {
  const before = select.value;
  select.replaceChildren(...options.map(([value, text]) => {
    const option = make("option", "", text);
    option.value = value;
    return option;
  }));
  if (before !== "" && options.some(([value]) => value === before)) select.value = before;
}
