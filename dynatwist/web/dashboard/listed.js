/** Lists that come a page at a time, and lists that are drawn again and again. @module listed */

import {h} from "./dom.js"

const FOCUSABLE = "a[href], button, input, select, textarea, [tabindex]"
/** What each row was made of. */
const drawn = new WeakMap()

/**
 * Have a body show these items. Rows of items that are as they were stay, and the focus stays where it was: in the row
 * of the same key, else in the one that took its place.
 *
 * @param keyOf what an item is known by.
 * @param rowOf makes its row.
 */
export function redraw(body, items, keyOf, rowOf) {
  const before = new Map([...body.children].map((row) => [drawn.get(row)?.key, row]))
  const rows = items.map((item) => {
    const key = keyOf(item), made = JSON.stringify(item), old = before.get(key)
    if (old !== undefined && drawn.get(old).made === made) return old
    const row = rowOf(item)
    drawn.set(row, {key, made})
    return row
  })
  if (rows.length === body.children.length && rows.every((row, at) => row === body.children[at])) return
  const back = focusIn(body)
  body.replaceChildren(...rows)
  back()
}

/** Remembers where the focus is; answers how to bring it back there. */
function focusIn(body) {
  const active = document.activeElement
  const row = [...body.children].find((one) => one.contains(active))
  if (row === undefined) return () => {}
  const {key} = drawn.get(row) ?? {}, at = [...body.children].indexOf(row)
  const which = [...row.querySelectorAll(FOCUSABLE)].indexOf(active)
  return () => {
    const rows = [...body.children]
    const next = rows.find((one) => drawn.get(one)?.key === key) ?? rows[Math.min(at, rows.length - 1)]
    const within = [...(next?.querySelectorAll(FOCUSABLE) ?? [])]
    const target = within[which] ?? within[0] ?? body.closest("[tabindex]")
    target?.focus({preventScroll: true})
  }
}

/**
 * A list that grows by a page when its button is pressed.
 *
 * @param load `(after) => {items, next}`: a page; `next` is null on the last one.
 * @param draw is given all that are loaded.
 * @returns `{more, begin}`: the button, and how to begin anew.
 */
export function paged(page, load, draw) {
  let items = [], next = "", turn = 0
  const more = h("button", {type: "button", hidden: true, onclick: () => page.guarded(bring)}, "Show more")

  async function bring() {
    const mine = turn += 1
    const found = await load(next)
    if (mine !== turn) return // another search was begun meanwhile
    items = [...items, ...found.items]
    next = found.next
    const hadFocus = document.activeElement === more
    more.hidden = next === null
    draw(items)
    if (hadFocus && more.hidden) more.parentElement.querySelector("[tabindex]")?.focus()
  }

  return {more, begin: () => {
    items = []
    next = ""
    return bring()
  }}
}

/** All items of a list of pages: `load` as of `paged`. */
export async function everything(load) {
  const items = []
  for (let after = ""; after !== null;) {
    const found = await load(after)
    items.push(...found.items)
    after = found.next
  }
  return items
}

/** The largest text that comes before all that begin with a prefix, so that a list can begin there. */
export function before(prefix) {
  if (prefix === "") return ""
  const points = [...prefix], last = points.pop().codePointAt(0)
  if (last === 0) return points.join("")
  const less = last === 0xe000 ? 0xd7ff : last - 1 // there is nothing between these
  return points.join("") + String.fromCodePoint(less, 0x10ffff)
}
