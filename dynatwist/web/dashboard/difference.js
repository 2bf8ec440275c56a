/** Two values side by side, member by member. @module difference */

import {h} from "./dom.js"

/** Rows of a comparison: what a browser draws without a pause. A value may have a hundred thousand members. */
const MOST_ROWS = 1000
const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value)

/**
 * The members of two values, those of objects inside them too; arrays are compared as wholes.
 *
 * @returns `[{path, one, other, differs}]`; `undefined` is what is not there.
 */
export function compared(one, other, path = []) {
  if (!isObject(one) || !isObject(other)) {
    return [{path, one, other, differs: JSON.stringify(one) !== JSON.stringify(other)}]
  }
  const names = [...new Set([...Object.keys(one), ...Object.keys(other)])]
  return names.flatMap((name) => compared(own(one, name), own(other, name), [...path, name]))
}

function own(value, name) { return Object.hasOwn(value, name) ? value[name] : undefined }

/**
 * The rows of a comparison; those that differ are marked, for eyes and for readers.
 *
 * @param write what is shown of a value that is there: JSON, unless something else is said.
 */
export function comparedRows(found, write = json) {
  const rows = found.slice(0, MOST_ROWS).map(({path, one, other, differs}) => h("tr", {class: differs && "differs"},
    h("th", {scope: "row"}, path.join(" › ") || "the whole value", differs && h("span", {class: "unseen"}, " differs")),
    h("td", {}, one === undefined ? absent() : write(one)), h("td", {}, other === undefined ? absent() : write(other))))
  if (found.length <= MOST_ROWS) return rows
  return [...rows, h("tr", {}, h("td", {colspan: 3}, `${found.length - MOST_ROWS} more are not shown`))]
}

function absent() { return h("span", {class: "hint"}, "not there") }
function json(value) { return h("pre", {}, JSON.stringify(value, null, 1)) }
