/** Which tables there are; and for users, who are not told that, which they looked at last. @module tables */

import {field, h, row, table as grid} from "./dom.js"
import {number} from "./format.js"

/** Of a page: as many as one looks through. */
const PAGE_TABLES = 100
const KEPT_AS = "dynakv-tables"
const MOST_KEPT = 10

/** Show them, from the one behind `after` on. */
export async function showTables(place, page) {
  place.append(h("h1", {}, "Tables"), chooser(page))
  if (!page.isAdmin) {
    place.append(h("p", {class: "hint"}, "Only administrators are told which tables there are: name the one that you want. "
      + "You see in a table what its rules let you read, and change what they let you change."))
    const last = remembered(page)
    if (last.length) place.append(h("h2", {}, "Looked at last"), h("ul", {class: "names"}, last.map((name) =>
      h("li", {}, link(page, name)))))
    return
  }
  const {box, body} = grid("Tables", ["Table", "Keys, about", "Settings"])
  const more = h("p", {class: "bar"}), missing = h("p", {class: "warn", role: "status"})
  place.append(missing, box, more)
  const after = page.query.get("after") ?? ""
  const told = await page.call("GET", `/admin/tables?${new URLSearchParams({limit: PAGE_TABLES, after})}`)
  body.replaceChildren(...told.tables.map((one) => row(
    link(page, one.name), number(one.keys), one.has_settings ? "its own" : "as usual")))
  if (!told.tables.length) body.append(row("There are no tables yet: a table begins with its first key.", "", ""))
  missing.textContent = told.missing.length
    ? `These members were not heard, and tables that they alone hold are not shown: ${told.missing.join(", ")}.` : ""
  if (after) more.append(h("a", {href: page.at("data")}, "First page"))
  if (told.next_after !== null) more.append(h("a", {href: page.at("data", [], {after: told.next_after})}, "Next page"))
}

function link(page, name) { return h("a", {href: page.at("data", [name])}, h("bdi", {}, name)) }

/** A field for a table's name: one that is there, or a new one. */
function chooser(page) {
  const name = h("input", {id: "table-name", required: true, autocomplete: "off", spellcheck: "false", maxlength: 128})
  const go = (query) => (event) => {
    event.preventDefault()
    if (name.reportValidity()) page.go("data", [name.value], query)
  }
  return h("form", {class: "bar", onsubmit: go({})}, field("Table", name),
    h("button", {class: "main"}, "Open"),
    h("button", {type: "button", id: "new-table", onclick: go({new: 1})}, "New table, with its first key"))
}

/** The tables that this user looked at in this tab. */
export function remembered(page) {
  const {user, names} = JSON.parse(sessionStorage.getItem(KEPT_AS) ?? "{}")
  return user === page.user ? names : []
}

/** A table was looked at. */
export function remember(page, name) {
  const names = [name, ...remembered(page).filter((one) => one !== name)].slice(0, MOST_KEPT)
  sessionStorage.setItem(KEPT_AS, JSON.stringify({user: page.user, names}))
}
