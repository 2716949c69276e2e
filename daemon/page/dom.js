/** Changes to the page that leave alone what has not changed: focus, selection and screen readers stay where they are. */

/** The element of that id. */
export function the(id) {
  return document.getElementById(id);
}

/** Makes an element with a class and children, of which strings become text. */
export function make(name, className, ...children) {
  const element = document.createElement(name);
  if (className !== "") element.className = className;
  element.append(...children);
  return element;
}

/** Sets an element's text, where it is another. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets an attribute, where it is another; undefined removes it. */
export function setAttribute(element, name, value) {
  if (value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/**
 * Shows or hides an element. Who had the focus in it finds it elsewhere, not at the top of the page.
 *
 * @param refuge gets the focus then
 */
export function show(element, shown, refuge) {
  if (element.hidden === !shown) return;
  if (!shown && element.contains(document.activeElement)) refuge?.focus();
  element.hidden = !shown;
}

/**
 * Makes the children of an element those of a list, in its order: those that are there stay the same elements.
 *
 * @param items each with a `key`
 * @param create makes the element of an item
 * @param update called with the element and the item, of new ones too
 */
export function keyed(parent, items, create, update) {
  const known = new Map(Array.from(parent.children, (child) => [child.dataset.key, child]));
  let next = parent.firstElementChild;
  for (const item of items) {
    let child = known.get(item.key);
    known.delete(item.key);
    if (child === undefined) {
      child = create(item);
      child.dataset.key = item.key;
    }
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
    update(child, item);
  }
  for (const child of known.values()) child.remove();
}

/** Makes the rows of a table's body those given: each a list of texts, the first the row's name. */
export function fillTable(table, rows) {
  const items = rows.map((cells, index) => ({ key: String(index), cells }));
  keyed(table.tBodies[0], items, () => document.createElement("tr"), (row, { cells }) => {
    cells.forEach((text, column) => {
      let cell = row.children[column];
      if (cell === undefined) {
        cell = make(column === 0 ? "th" : "td", "");
        if (column === 0) cell.scope = "row";
        row.append(cell);
      }
      setText(cell, text);
    });
  });
}
