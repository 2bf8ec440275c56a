/**
 * Tables, keys and records as the views of data need them: values as the text that is held, digit for digit.
 *
 * @module store
 */

import {freshName, query} from "/client/dynakv.js"
import {members} from "./json.js"

/** For a node to go through keys that its user may not read, or that were deleted: more than usual requests take. */
const LISTING_MS = 10000
/** For a step of long work, which goes through many keys, or behind many that were deleted a moment ago. */
const LONG_MS = 30000
const segment = encodeURIComponent

/** The names under a prefix: keys, and folders, which end with the separator; `isLong` as a step of long work. */
export function names(page, table, {prefix = "", separator = "", after = "", limit, isLong = false}) {
  const asked = query({prefix: prefix || null, delimiter: separator || null, after: after || null, limit})
  const timeoutMs = isLong ? LONG_MS : LISTING_MS
  return page.call("GET", `/${segment(table)}/keys${asked}`, undefined, {timeoutMs})
}

/** A record: its `text`, and `version`, `owner`, `etag`, `timestamp`, `vector_clock`, `expires_at`, `ephemeral`. */
export async function read(page, table, key) {
  if (isUnspeakable(key)) {
    const found = await readMany(page, table, [key])
    if (!found.has(key)) throw new Error("there is no such key, or you may not read it")
    return found.get(key)
  }
  return recordOf(await page.call("GET", pathOf(table, key), undefined, {raw: true}))
}

/** Those of some records that are there, by key. */
export async function readMany(page, table, keys) {
  const body = JSON.stringify({keys})
  const options = {raw: true, repeatable: true, timeoutMs: LONG_MS}
  const text = await page.call("POST", `/${segment(table)}/keys`, body, options)
  return new Map([...members(text)].map(([key, record]) => [key, recordOf(record)]))
}

/** Write a record, if it has that `etag`, or if there is none (`isNew`); answers what it became. */
export async function write(page, table, key, text, {etag, isNew = false, ttl_s}) {
  requireSpeakable(key)
  const headers = {"Idempotency-Key": freshName(), ...(isNew ? {"If-None-Match": "*"} : {"If-Match": `"${etag}"`})}
  const path = pathOf(table, key) + query({ttl: ttl_s})
  return recordOf(await page.call("PUT", path, text, {raw: true, headers, repeatable: true}))
}

/** Delete a record, if it has that `etag`. */
export async function remove(page, table, key, etag) {
  requireSpeakable(key)
  const headers = {"Idempotency-Key": freshName(), "If-Match": `"${etag}"`}
  await page.call("DELETE", pathOf(table, key), undefined, {headers, repeatable: true})
}

function pathOf(table, key) { return `/${segment(table)}/key/${segment(key)}` }

function recordOf(text) {
  const {value, ...rest} = Object.fromEntries(members(text))
  const told = Object.entries(rest).map(([name, one]) => [name, JSON.parse(one)])
  return {text: value, ...Object.fromEntries(told)}
}

/** A browser takes these out of every URL, however they are written. */
export function isUnspeakable(key) { return key === "." || key === ".." }

function requireSpeakable(key) {
  if (!isUnspeakable(key)) return
  throw new Error(`the path of a URL cannot name the key ${key}; a batch can: an import, or deleting a prefix`)
}
