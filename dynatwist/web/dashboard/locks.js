/** Locks of strong tables: who holds them, for how long yet, and how to end one. @module locks */

import {confirmed, field, h, row, table} from "./dom.js"
import {counted, span} from "./format.js"
import {redraw} from "./listed.js"
import {UNTOLD, acts, button, form, ifTold, tell} from "./telling.js"

export const title = "Locks"
/** Between two looks: a lock that is taken or released is seen at once, as it were. */
const PAUSE_MS = 2000
/** How often the time that is left is counted down. */
const TICK_MS = 1000

export async function show(place, page) {
  const named = h("input",
    {id: "of-table", value: page.query.get("table") ?? "", autocomplete: "off", spellcheck: "false"})
  const state = h("p", {class: "hint", role: "status"})
  const {box, body} = table("Locks", ["Key", "Table", "Holder", "Fencing token", "Time left", "Waiting", acts()])
  box.hidden = true

  async function look() {
    const asked = named.value ? `?${new URLSearchParams({table: named.value})}` : ""
    const told = await ifTold(page.call("GET", `/admin/locks${asked}`))
    box.hidden = told === null || told.locks.length === 0
    tell(state, told === null ? UNTOLD : said(told))
    redraw(body, told?.locks ?? [], (one) => JSON.stringify([one.table, one.key]), (one) => rowOf(page, one, look))
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

function said({locks, next_after: next}) {
  if (!locks.length) return "Nobody holds a lock."
  return `${counted(locks.length, "lock")} held${next ? "; there are more: name a table" : ""}.`
}

function rowOf(page, one, look) {
  return row(h("span", {class: "named"}, one.key), one.table, one.holder ?? "not told", one.token,
    one.expires_ms ? h("time", {datetime: new Date(one.expires_ms).toISOString()}) : "without end",
    Array.isArray(one.waiting) ? one.waiting.length : one.waiting ?? "not told",
    button(page, "Release", async () => {
      if (await released(page, one)) page.say(`The lock ${one.key} is released.`)
      await look()
    }, {"aria-label": `Release ${one.key}`}))
}

/** End a lock in its holder's place, if it is still theirs; answers whether that was wanted. */
async function released(page, {table: name, key, token, holder}) {
  const text = [
    h("p", {}, `Whoever waits takes the lock at once. ${holder ?? "The holder"} hears of it only when renewing it, `
      + `and may go on working until then: two may work at the same time.`),
    h("p", {}, `What checks fencing tokens refuses the former holder: its token is ${token}, `
      + "and the next one is larger.")]
  if (!await confirmed({title: `Release the lock ${key}?`, text, does: "Release"})) return false
  const record = await page.call("GET", `/admin/table/${path(name, "key", key)}`)
  if (holder && record.owner !== holder) {
    throw new Error(`The lock is held by ${record.owner} meanwhile; nothing was changed.`)
  }
  await page.call("POST", `/${path(name, "lock", key)}/release`, {}, {headers: {"If-Match": `"${record.etag}"`}})
  return true
}

const path = (name, kind, key) => `${encodeURIComponent(name)}/${kind}/${encodeURIComponent(key)}`
