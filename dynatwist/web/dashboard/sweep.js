/** Deleting all keys under a prefix: counted first, confirmed by a word, stopped at any time. @module sweep */

import {batch} from "./batch.js"
import {confirmed, h} from "./dom.js"
import {counted, number} from "./format.js"
import {worked} from "./progress.js"
import {names} from "./store.js"

/** Keys that are counted by one request: a second's work at most. */
const COUNTED = 10000
/** Keys that are deleted by one request: a batch that nobody else waits long behind. */
const DELETED = 250

/** Delete what is under a prefix, after asking; answers whether anything may have been deleted. */
export async function sweep(page, table, prefix) {
  const where = prefix ? h("span", {}, "keys of ", h("q", {}, table), " that begin with ", h("code", {}, prefix))
    : h("span", {}, "keys of ", h("q", {}, table))
  let count = null
  await worked("Count what is to be deleted", async (progress) => {
    const found = await countOf(page, table, prefix, progress)
    if (progress.isStopped) return `Stopped after ${counted(found, "key")}. Nothing was deleted.`
    count = found
    return found ? null : "There are no keys, or none that you may read."
  })
  if (!count) return false
  const isSure = await confirmed({
    title: `Delete ${counted(count, "key")}`,
    text: [h("p", {}, "All ", where, " are deleted, and what is written there meanwhile may be, too. "
      + "Nobody can take that back.")],
    does: "Delete", typed: "delete",
  })
  if (isSure) await worked("Delete", (progress) => deleteAll(page, {table, prefix, count, progress}))
  return isSure
}

async function countOf(page, table, prefix, progress) {
  let count = 0, after = ""
  while (!progress.isStopped) {
    const found = await names(page, table, {prefix, after, limit: COUNTED, isLong: true})
    count += found.length
    progress.tell(`${counted(count, "key")} so far`)
    if (found.length < COUNTED) return count
    after = found.at(-1)
  }
  return count
}

async function deleteAll(page, {table, prefix, count, progress}) {
  let deleted = 0, refused = 0, after = ""
  const told = () => `${number(deleted)} deleted${refused ? `, ${number(refused)} refused` : ""}`
  while (!progress.isStopped) {
    const keys = await names(page, table, {prefix, after, limit: DELETED, isLong: true})
    if (!keys.length) return `${told()}.`
    const outcomes = await batch(page, table, keys.map((key) => ({op: "delete", key})))
    outcomes.forEach((outcome, at) => {
      if (outcome.status === 200) deleted += 1
      else if (outcome.status !== 404) { refused += 1; progress.fault(`${keys[at]}: ${outcome.error}`) }
    })
    progress.tell(told(), Math.min(1, (deleted + refused) / count))
    after = keys.at(-1)
  }
  return `Stopped: ${told()}. The others are still there.`
}
