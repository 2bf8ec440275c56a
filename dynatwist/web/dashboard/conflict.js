/** One conflict: what is held beside what lost, and what to do about it. @module conflict */

import {freshName} from "/client/dynakv.js"
import {compared, comparedRows} from "./difference.js"
import {confirmed, h, table} from "./dom.js"
import {counted, within} from "./format.js"
import {button, goAndSay} from "./telling.js"

/** Of an id: what is none is no conflict. */
const ID_DIGITS = /^[0-9a-f]{40}$/

export async function show(place, page, id) {
  const found = await one(page, id)
  place.append(h("p", {}, h("a", {href: page.at(page.name, [], {table: page.query.get("table")})}, "All conflicts")))
  if (found === null) {
    place.append(h("h1", {}, "This conflict is settled"), h("p", {}, "Or there was none of this id that you may see."))
    return
  }
  const held = await heldNow(page, found)
  place.append(h("h1", {class: "named"}, found.key),
    h("p", {class: "hint"}, `In the table ${within(found.table)}. ${story(found, held)}`, found.lost.value === null && " What lost is a delete."),
    sideBySide(held, found.lost), actions(page, found, held))
}

/** A conflict by its id: the first that a list has from there on, since newer ids are larger. */
async function one(page, id) {
  if (!ID_DIGITS.test(id)) return null
  const last = BigInt(`0x${"f".repeat(id.length)}`), number = BigInt(`0x${id}`)
  const after = number === last ? "" : (number + 1n).toString(16).padStart(id.length, "0")
  const asked = {table: page.query.get("table") ?? "", after, limit: 1}
  const given = Object.entries(asked).filter(([, value]) => value !== "")
  const [found] = await page.call("GET", `/conflicts?${new URLSearchParams(given)}`)
  return found?.id === id ? found : null
}

const pathOf = (page, {table: name, key}) =>
  `${page.isAdmin ? "/admin/table" : ""}/${encodeURIComponent(name)}/key/${encodeURIComponent(key)}`

/** The record that is held: `null` for none, `undefined` where the user may not read it. */
async function heldNow(page, found) {
  try {
    return await page.call("GET", pathOf(page, found))
  } catch (error) {
    if (error.status === 404) return null
    if (error.status === 403) return undefined
    throw error
  }
}

function story(found, held) {
  if (held === undefined) return "You may not read what is held now."
  if (held === null) return "Nothing is held now: the record was deleted, or has ended."
  const isWinner = found.won === null || held.version === found.won.version
  return `What is held now ${isWinner ? "is what the lost value lost against" : "was written after the conflict"}.`
}

function sideBySide(held, lost) {
  const {box, body} = table("What is held now beside what lost",
    [h("span", {class: "unseen"}, "What"), "Held now", "Lost"])
  const one = held ?? {}
  const about = [
    {path: ["owner"], one: one.owner, other: lost.owner},
    {path: ["written"], one: exactly(one.timestamp), other: exactly(lost.timestamp)},
    {path: ["version"], one: one.version, other: lost.version},
    {path: ["ends"], one: exactly(one.expires_at), other: exactly(lost.expires_at)},
  ].map((each) => ({...each, differs: each.one !== each.other})).filter((each) => each.one ?? each.other)
  const values = compared(held?.value, lost.value ?? undefined)
  const clocks = compared(one.vector_clock ?? {}, lost.vector_clock)
  const differing = values.filter((each) => each.differs).length
  body.append(part(`Value: ${counted(differing, "difference")}`), ...comparedRows(values),
    part("About it"), ...comparedRows(about, (text) => text),
    part("Clock: writes seen, by process"), ...comparedRows(clocks))
  box.classList.add("compared")
  return box
}

/** A moment to the millisecond, since concurrent writes may be no further apart. */
function exactly(ms) {
  const parts = {year: "numeric", month: "short", day: "numeric", hour: "numeric", minute: "2-digit", second: "2-digit"}
  return ms ? new Date(ms).toLocaleString(undefined, {...parts, fractionalSecondDigits: 3}) : undefined
}

function part(text) { return h("tr", {class: "part"}, h("th", {colspan: 3, scope: "colgroup"}, text)) }

function actions(page, found, held) {
  const {lost} = found, hasEnded = Boolean(lost.expires_at) && lost.expires_at <= Date.now()
  const isDelete = lost.value === null
  const restore = isDelete ? "Delete it after all" : "Restore what lost"
  const consequence = isDelete ? "The record is deleted, as the delete that lost had it."
    : `What lost becomes the record's value${lost.expires_at ? ", and ends when it would have ended" : ""}.`
  const owner = isDelete ? "" : ownership(page, held, lost)
  const may = held !== undefined && !hasEnded && !(isDelete && held === null)
  return h("div", {class: "bar"},
    may && button(page, restore, async () => {
      const text = `${consequence}${owner} It is done only if nobody has written the record since you looked.`
      if (!await confirmed({title: `${restore}?`, text, does: restore})) return
      await restored(page, found, held)
      const error = await settled(page, found.id)
      if (error) throw error
      goAndSay(page, [], isDelete ? `${within(found.key)} is deleted.` : `${within(found.key)} has the value again that lost.`)
    }, {id: "restore", class: "main"}),
    button(page, held === null ? "Settle: leave it deleted" : "Settle: keep what is held", async () => {
      const text = "The value that lost is gone for good, for everybody."
      if (!await confirmed({title: "Settle this conflict?", text, does: "Settle"})) return
      const error = await settled(page, found.id)
      if (error) throw error
      goAndSay(page, [], `The conflict about ${within(found.key)} is settled.`)
    }, {id: "settle"}),
    hasEnded && h("p", {class: "hint"}, "What lost would have ended by now, so it is not restored."))
}

/** Whose the record is afterwards, where that is somebody else than the owner of what lost. */
function ownership(page, held, lost) {
  const owner = held === null ? page.user : held?.owner
  if (owner === lost.owner) return ""
  return held === null
    ? ` The record is yours then, not ${within(lost.owner)}'s: nothing is held that would keep its owner.`
    : ` The record stays ${within(owner)}'s.`
}

/** Write what lost over what is held, unless that has changed meanwhile. */
async function restored(page, found, held) {
  const {value, expires_at: endsMs} = found.lost
  const ttl = endsMs ? `?ttl=${Math.max(1, Math.ceil((endsMs - Date.now()) / 1000))}` : ""
  const condition = held === null ? {"If-None-Match": "*"} : {"If-Match": `"${held.etag}"`}
  const options = {repeatable: true, headers: {...condition, "Idempotency-Key": freshName()}}
  try {
    if (value === null) await page.call("DELETE", pathOf(page, found), undefined, options)
    else await page.call("PUT", pathOf(page, found) + ttl, value, options)
  } catch (error) {
    if (error.status !== 412) throw error
    throw new Error("Somebody has written the record meanwhile, so nothing was changed. "
      + "Load this page again to see what is held now.")
  }
}

/** Settle a conflict; answers the error where it is refused, and nothing where somebody else has settled it. */
export async function settled(page, id) {
  try {
    await page.call("DELETE", `/conflicts/${id}`, undefined, {repeatable: true})
  } catch (error) {
    if (error.status === 403) return error
    if (error.status !== 404) throw error
  }
  return null
}
