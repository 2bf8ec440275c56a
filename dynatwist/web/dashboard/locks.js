/** Locks of strong tables: who holds them, for how long yet, and how to end one. @module locks */

import {confirmed, field, h, row, table} from "./dom.js"
import {counted, span, within} from "./format.js"
import {redraw} from "./listed.js"
import {UNTOLD, acts, button, form, ifTold, tell} from "./telling.js"

export const title = "Locks"
const query = (parameters) => `?${new URLSearchParams(parameters)}`
/** Between two looks: a lock that is taken or released is seen at once, as it were. */
const PAUSE_MS = 2000
/** Tables with settings that are looked through: as many requests at a time. */
const MOST_TABLES = 20
/** How often the time that is left is counted down. */
const TICK_MS = 1000

export async function show(place, page) {
  const named = h("input", {value: page.query.get("table") ?? "", id: "of-table", autocomplete: "off", spellcheck: "false"})
  const state = h("p", {class: "hint", role: "status"})
  const {box, body} = table("Locks", ["Key", "Table", "Holder", "Fencing token", "Time left", "Waiting", "Note", acts()])
  box.hidden = true

  async function look() {
    const names = named.value ? [named.value] : await strongTables(page)
    const told = await ifTold(Promise.all(names.map((name) => page.call("GET", `/admin/locks${query({table: name})}`))))
    const locks = (told ?? []).flatMap((one) => one.locks.map((lock) => ({...lock, table: one.table})))
    box.hidden = locks.length === 0
    tell(state, told === null ? UNTOLD : said(names, locks, told))
    redraw(body, locks, (one) => JSON.stringify([one.table, one.key]), (one) => rowOf(page, one, look))
    count()
  }

  /** Have each row say how much time is left. The node's clock and this one's may be a moment apart. */
  function count() {
    for (const left of body.querySelectorAll("time")) {
      const ms = Date.parse(left.dateTime) - Date.now()
      left.textContent = ms > 0 ? span(Math.ceil(ms / 1000)) : "about to end"
    }
  }

  place.append(h("h1", {class: "unseen"}, title), form(page, {class: "bar"}, async () => {
    page.note({table: named.value})
    await look()
  }, field("Only of the table", named), h("button", {}, "Show")), state, box)
  const ticks = setInterval(count, TICK_MS)
  page.signal.addEventListener("abort", () => clearInterval(ticks), {once: true})
  await page.every(PAUSE_MS, look)
}

/** Locks are in strong tables alone, of which there are few. */
async function strongTables(page) {
  const {tables} = await page.call("GET", "/admin/tables")
  const names = tables.filter((one) => one.has_settings).slice(0, MOST_TABLES).map((one) => one.name)
  const settings = await Promise.all(names.map((name) => page.call("GET", `/admin/tables/${encodeURIComponent(name)}`)))
  return names.filter((_, at) => settings[at].consistency === "strong")
}

function said(names, locks, told) {
  if (!names.length) return "There is no strong table, and locks are kept in those alone."
  const more = told.some((one) => one.next_after) ? "; there are more" : ""
  const missing = [...new Set(told.flatMap((one) => one.missing))]
  const silent = missing.length ? ` Who waits at ${missing.join(", ")} is not known.` : ""
  return `${locks.length ? `${counted(locks.length, "lock")} held${more}.` : "Nobody holds a lock."}${silent}`
}

function rowOf(page, one, look) {
  return row(h("span", {class: "named"}, one.key), one.table, one.owner, one.version,
    h("time", {datetime: new Date(one.expires_at).toISOString()}),
    h("span", {title: one.waiting.map(({user, node}) => `${user} at ${node}`).join(", ")}, one.waiting.length || "nobody"),
    JSON.stringify(one.note),
    button(page, "Release", async () => {
      if (await released(page, one)) page.say(`The lock ${within(one.key)} is released.`)
      await look()
    }, {"aria-label": `Release ${one.key}`}))
}

/** End a lock in its holder's place, if it is still theirs; answers whether that was wanted. */
async function released(page, {table: name, key, version, owner}) {
  const text = [
    h("p", {}, `Whoever waits takes the lock at once. ${within(owner)} hears of it only when renewing it, and may go on working until then: two may work at the same time.`),
    h("p", {}, `What checks fencing tokens refuses the former holder: its token is ${version}, and the next one is larger.`)]
  if (!await confirmed({title: `Release the lock ${within(key)}?`, text, does: "Release"})) return false
  const path = `/admin/table/${encodeURIComponent(name)}/key/${encodeURIComponent(key)}`
  const record = await page.call("GET", path)
  if (record.version !== version) throw new Error(`${within(record.owner)} has taken the lock meanwhile; nothing was changed.`)
  await page.call("DELETE", path, undefined, {headers: {"If-Match": `"${record.etag}"`}})
  return true
}
