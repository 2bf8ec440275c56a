/** Values that lost a concurrent write, until somebody settles the matter. @module conflicts */

import * as conflict from "./conflict.js"
import {confirmed, field, h, row, table} from "./dom.js"
import {ago, counted, moment} from "./format.js"
import {paged, redraw} from "./listed.js"
import {button, form} from "./telling.js"

export const title = "Conflicts"
/** Conflicts of a page: some screens, and what somebody settles at once after a look at them. */
const PAGE_CONFLICTS = 100
/** Of a value, in a list. */
const MOST_CHARS = 120

export async function show(place, page) {
  if (page.parts[0]) await conflict.show(place, page, page.parts[0])
  else await showAll(place, page)
}

async function showAll(place, page) {
  const named = h("input",
    {id: "of-table", value: page.query.get("table") ?? "", autocomplete: "off", spellcheck: "false"})
  const partial = h("p", {class: "warn", role: "status"})
  const count = h("p", {role: "status", id: "count"})
  const {box, body} = table("Conflicts", ["Key", "Table", "Lost value", "Of", "Against", "When"])
  const settle = button(page, "", () => settleAll(), {id: "settle-all", hidden: true})
  let shown = []

  const list = paged(page, async (after) => {
    let headers
    const asked = Object.entries({table: named.value, after, limit: PAGE_CONFLICTS}).filter(([, value]) => value !== "")
    const items = await page.call("GET", `/conflicts?${new URLSearchParams(asked)}`, undefined,
      {heard: (told) => { headers = told }})
    const missing = headers.get("X-Partial")
    partial.textContent = missing ? `Not asked: ${missing}. Conflicts that only these members know are not in the list.` : ""
    return {items, next: headers.get("X-Next-After")}
  }, (items) => {
    shown = items
    redraw(body, items, (one) => one.id, (one) => row(
      h("a", {href: page.at(page.name, [one.id], {table: one.table})}, one.key), one.table,
      h("code", {}, excerpt(one.lost.value)), one.lost.owner,
      one.won === null ? "what you may not read" : `a value of ${one.won.owner}`,
      h("time", {datetime: new Date(one.at).toISOString(), title: moment(one.at)}, ago(one.at))))
    count.textContent = items.length
      ? `${counted(items.length, "value")} that lost a concurrent write, the newest first.`
      : "There are no conflicts: no write was lost to another one."
    settle.hidden = items.length === 0
    settle.textContent = `Settle the ${items.length} shown`
  })

  async function settleAll() {
    const these = shown
    const text = `What is held now stays in all ${these.length} cases, `
      + "and the values that lost are gone for good, for everybody."
    const title = `Settle ${counted(these.length, "conflict")}?`
    if (!await confirmed({title, text, does: `Settle ${these.length}`})) return
    const refused = []
    let done = 0
    for (const one of these) {
      const error = await conflict.settled(page, one.id)
      if (error) refused.push(`${one.key}: ${error.message}`)
      else page.say(`Settled ${done += 1} of ${these.length}.`)
    }
    await list.begin()
    page.say(`${counted(done, "conflict")} settled.`)
    if (refused.length) throw new Error(`${refused.length} could not be settled: ${refused.slice(0, 3).join("; ")}`)
  }

  place.append(h("h1", {class: "unseen"}, title))
  if (!page.isAdmin) {
    place.append(h("p", {class: "hint"}, "You see values of yours that lost, and those that you may "
      + "read. Who may update a record may restore a value and settle the matter."))
  }
  place.append(form(page, {class: "bar"}, async () => {
      page.note({table: named.value})
      await list.begin()
    }, field("Only of the table", named), h("button", {}, "Show")), partial, count, box,
    h("div", {class: "bar"}, list.more, settle))
  await list.begin()
}

function excerpt(value) {
  const text = value === null ? "a delete" : JSON.stringify(value)
  return text.length > MOST_CHARS ? `${text.slice(0, MOST_CHARS)}…` : text
}
