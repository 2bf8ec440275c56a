/** Many operations on a table, a batch at a time, with values as text. @module batch */

import {freshName} from "/client/dynakv.js"

/** So often an operation is sent again that found no node ready, and so long after. */
const MORE_TRIES = 3, PAUSE_MS = 500
/** For a node to carry out a batch of large records. */
const BATCH_MS = 20000

/**
 * Carry out operations, each once, however often it is sent.
 *
 * @param ops `{op, key, text?, ttl_s?, isNew?}`; `text` is the value as JSON.
 * @returns an outcome each: `{status, error?, code?}`.
 */
export async function batch(page, table, ops) {
  const name = freshName()
  const lines = ops.map((op, place) => lineOf(op, `${name}.${place}`))
  const outcomes = new Array(ops.length).fill(null)
  for (let tries = 0; tries <= MORE_TRIES; tries += 1) {
    const left = outcomes.flatMap((outcome, place) => (outcome === null || outcome.status === 503 ? [place] : []))
    if (!left.length) break
    if (tries) await new Promise((resolve) => { setTimeout(resolve, PAUSE_MS * tries) })
    const body = `{"ops":[${left.map((place) => lines[place]).join(",")}]}`
    const path = `/${encodeURIComponent(table)}/batch`
    const told = await page.call("POST", path, body, {raw: true, repeatable: true, timeoutMs: BATCH_MS})
    JSON.parse(told).results.forEach((outcome, at) => { outcomes[left[at]] = outcome })
  }
  return outcomes
}

function lineOf({op, key, text, ttl_s, isNew}, name) {
  const rest = {...(ttl_s ? {ttl: ttl_s} : {}), ...(isNew ? {if_none_match: true} : {}), idempotency_key: name}
  const value = text === undefined ? "" : `"value":${text},`
  return `{"op":"${op}","key":${JSON.stringify(key)},${value}${JSON.stringify(rest).slice(1)}`
}
