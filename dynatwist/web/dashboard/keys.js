/** One page of the keys of a table, as folders or flat, which changes as they do. @module keys */

import {flash, h} from "./dom.js"
import {compare} from "./order.js"
import {names} from "./store.js"

/** Names of a page: as many as one looks through. */
const PAGE_NAMES = 200
/** Names that are shown at most, when new ones come into the page. */
const MOST_NAMES = 2 * PAGE_NAMES
/** Between two times that changes are shown: what changes more often flashes no faster. */
const PAUSE_MS = 150

/** The list, and what is known of it. */
export class Keys {
  #page
  #at
  #open
  #rows = new Map()
  #changed = new Map()
  #timer = null
  #hasMore = false
  #list = h("ul", {class: "names", "aria-label": "Keys"})
  #empty = h("p", {class: "hint", hidden: true})
  #next = h("a", {}, "Next page")
  #first = h("a", {}, "First page")

  /**
   * @param at `{table, prefix, separator, after}`.
   * @param open called with the key that somebody wants to see.
   */
  constructor(page, at, open) {
    this.#page = page
    this.#at = at
    this.#open = open
    this.box = h("section", {class: "keys", "aria-label": "Keys of the table"}, this.#list, this.#empty,
      h("p", {class: "bar"}, this.#first, this.#next))
    this.#first.href = this.#hrefOf({})
    this.#first.hidden = !at.after
    this.#list.addEventListener("keydown", (event) => this.#walk(event))
  }

  /** Read the page anew; what had the focus keeps it. */
  async load() {
    const {table, ...at} = this.#at
    const found = await names(this.#page, table, {...at, limit: PAGE_NAMES})
    this.#hasMore = found.length === PAGE_NAMES
    const rows = found.map((name) => [name, this.#rows.get(name) ?? this.#row(name)])
    this.#rows = new Map(rows)
    const focused = document.activeElement
    this.#list.replaceChildren(...rows.map(([, item]) => item))
    if (focused !== document.activeElement && this.#list.contains(focused)) focused.focus()
    this.#settle()
  }

  /** Keys that are shown, without folders. */
  get shown() { return [...this.#rows.keys()].filter((name) => !this.#isFolder(name)) }

  /** Say which key is open, `null` for none. */
  mark(key) {
    for (const [name, item] of this.#rows) {
      if (name === key) item.firstChild.setAttribute("aria-current", "true")
      else item.firstChild.removeAttribute("aria-current")
    }
  }

  /** Set the focus to a key, or to the first one. */
  focus(key) { (this.#rows.get(key) ?? this.#rows.values().next().value)?.firstChild.focus() }

  /** Arrow keys, Home and End go from name to name. */
  #walk(event) {
    const items = [...this.#list.children], at = items.indexOf(event.target.closest("li"))
    const to = {ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1}[event.key]
    if (items[to] === undefined) return
    event.preventDefault()
    items[to].firstChild.focus()
  }

  /** A key was written or deleted: it is shown, a little later and together with others. */
  change(key, isDeleted) {
    const name = this.#nameOf(key)
    if (name === null || !this.#isInPage(name)) return
    this.#changed.set(name, isDeleted)
    this.#timer ??= setTimeout(() => this.#page.guarded(() => this.#show()), PAUSE_MS)
  }

  async #show() {
    const changed = this.#changed
    this.#changed = new Map()
    this.#timer = null
    for (const [name, isDeleted] of changed) {
      if (isDeleted && (!this.#isFolder(name) || await this.#isEmpty(name))) this.#takeAway(name)
      else if (!this.#isFolder(name) || this.#rows.has(name) || !isDeleted) this.#flash(name)
    }
    this.#settle()
  }

  async #isEmpty(folder) {
    return !(await names(this.#page, this.#at.table, {prefix: folder, limit: 1})).length
  }

  #flash(name) {
    if (!this.#rows.has(name)) this.#put(name)
    const item = this.#rows.get(name)
    if (item) flash(item)
  }

  #put(name) {
    const known = [...this.#rows.keys()]
    const at = known.findIndex((other) => compare(name, other) < 0)
    const item = this.#row(name)
    this.#list.insertBefore(item, at < 0 ? null : this.#rows.get(known[at]))
    const rows = [...this.#rows]
    rows.splice(at < 0 ? rows.length : at, 0, [name, item])
    for (const [, dropped] of rows.splice(MOST_NAMES)) {
      dropped.remove()
      this.#hasMore = true
    }
    this.#rows = new Map(rows)
  }

  #takeAway(name) {
    const item = this.#rows.get(name)
    if (!item) return
    const beside = item.nextSibling ?? item.previousSibling
    const hadFocus = item.contains(document.activeElement)
    item.remove()
    this.#rows.delete(name)
    if (hadFocus) beside?.firstChild.focus()
  }

  #settle() {
    const last = [...this.#rows.keys()].at(-1)
    this.#empty.hidden = this.#rows.size > 0
    this.#empty.textContent = this.#at.after ? "There are no more keys." : this.#at.prefix
      ? "There are no keys that begin so, or none that you may read." : "There are no keys, or none that you may read."
    this.#next.hidden = !this.#hasMore
    if (this.#hasMore) this.#next.href = this.#hrefOf({after: last})
  }

  #isInPage(name) {
    if (compare(name, this.#at.after) <= 0) return false
    return !this.#hasMore || compare(name, [...this.#rows.keys()].at(-1)) <= 0
  }

  /** The name that shows a key here. */
  #nameOf(key) {
    const {prefix, separator} = this.#at
    if (!key.startsWith(prefix)) return null
    const end = separator ? key.indexOf(separator, prefix.length) : -1
    return end < 0 ? key : key.slice(0, end + separator.length)
  }

  #isFolder(name) {
    const {prefix, separator} = this.#at
    return separator !== "" && name.indexOf(separator, prefix.length) >= 0
  }

  #hrefOf(more) {
    const {table, prefix, separator} = this.#at
    return this.#page.at("data", [table], {prefix, sep: separator || "none", ...more})
  }

  #row(name) {
    const {prefix, separator, after} = this.#at
    const last = name.slice(folderOf(prefix, separator).length)
    const text = h("bdi", {}, last || name) // a key may be called as its folder
    if (this.#isFolder(name)) {
      const href = this.#page.at("data", [this.#at.table], {prefix: name, sep: separator})
      return h("li", {}, h("a", {href, class: "folder"}, h("span", {"aria-hidden": "true"}, "▸ "), text,
        h("span", {class: "unseen"}, ", folder")))
    }
    const onclick = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return
      event.preventDefault()
      this.#open(name)
    }
    return h("li", {}, h("a", {href: this.#hrefOf({after, key: name}), onclick}, text))
  }
}

/** The folder that a prefix is in: up to its last separator. */
export function folderOf(prefix, separator) {
  const at = separator ? prefix.lastIndexOf(separator) : -1
  return at < 0 ? "" : prefix.slice(0, at + separator.length)
}
