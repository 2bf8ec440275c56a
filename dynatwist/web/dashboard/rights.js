/** What a user may do where, and by which rules. @module rights */

import {field, h} from "./dom.js"
import {within} from "./format.js"
import {prefixed, rulesTable} from "./rules.js"
import {UNTOLD, form, ifTold, segment} from "./telling.js"

export const title = "Rights"
/** In the order in which people think of them; the last stands for three where a node tells no more. */
const RIGHTS = ["read", "create", "update", "delete", "write"]
const NOTHING = ["none", false]

export async function show(place, page) {
  const {user = "", table = "", key = ""} = Object.fromEntries(page.query)
  const fields = Object.fromEntries(["user", "table", "key"].map((name) => [name, h("input",
    {name, value: page.query.get(name) ?? "", autocomplete: "off", spellcheck: "false", required: name === "table"})]))
  const answer = h("div", {"aria-live": "polite"})
  place.append(h("h1", {class: "unseen"}, title),
    form(page, {class: "bar", id: "ask-rights"}, async () => page.go(page.name, ["rights"],
      Object.fromEntries(Object.entries(fields).map(([name, input]) => [name, input.value]))),
    field("User", fields.user), field("Table", fields.table), field("Key, or a key's beginning", fields.key),
    h("button", {class: "main"}, "What may they do?")), answer)
  if (!table) {
    answer.append(h("p", {class: "hint"}, "Name a table to see its rules; and a user, to see what follows for them."))
    return
  }
  if (user) answer.append(...await said(page, user, table, key))
  const settings = await page.call("GET", `/admin/tables/${encodeURIComponent(table)}`)
  answer.append(h("h2", {}, `Rules of ${within(table)}`),
    h("p", {class: "hint"}, "Of these, the rule with the longest beginning that fits a key counts, alone. "
      + "Administrators may do everything."),
    rulesTable(page, table, settings.access))
}

/** The node's answer in sentences, and why. */
async function said(page, user, table, key) {
  const asked = new URLSearchParams(key ? {table, key} : {table})
  let told
  try {
    told = await ifTold(page.call("GET", `/admin/users/${segment(user)}/rights?${asked}`))
  } catch (error) {
    if (error.status !== 404) throw error
    return [h("p", {class: "error", id: "may"}, error.message)]
  }
  if (told === null) return [h("p", {class: "hint", id: "may"}, UNTOLD)]
  return [
    h("div", {id: "may"}, sentences(user, told, table, key).map((text) => h("p", {class: "verdict"}, text))),
    told.groups?.length ? h("p", {}, `${within(user)} is in the groups ${told.groups.map(within).join(", ")}.`) : null,
    told.because?.length
      ? h("div", {}, h("h2", {}, "Why"), h("ul", {}, told.because.map((one) => h("li", {}, reason(one))))) : null,
  ].filter(Boolean)
}

/** One for each of the prefixes whose rules differ; a node that tells none tells of the table as a whole. */
function sentences(name, told, named, atKey) {
  const [user, table, key] = [name, named, atKey].map(within)
  const parts = told.prefixes?.length ? told.prefixes : [told]
  if (key) return [sentence(user, parts[0], `Under the key ${key} of ${table}`)]
  if (parts.length === 1) return [sentence(user, parts[0], `In ${table}`)]
  return parts.map((one) => sentence(user, one,
    `In ${table}, under ${one.prefix === "" ? "all other keys" : `keys that begin with ${within(one.prefix)}`},`))
}

function sentence(user, told, where) {
  const rights = RIGHTS.filter((right) => right in told && !(right === "write" && "update" in told))
  const has = rights.filter((right) => !NOTHING.includes(told[right]))
  const lacks = rights.filter((right) => NOTHING.includes(told[right]))
  const may = joined(has.map((right) => `${right} ${scope(right, told[right], user)}`), "and")
  if (!has.length) return `${where} ${user} may do nothing.`
  return `${where} ${user} may ${may}${lacks.length ? `, but not ${joined(lacks, "or")}` : ""}.`
}

function scope(right, value, user) {
  if (right === "create") return "new records"
  return value === "own" ? `records that ${user} owns` : "every record"
}

/** `a, b and c`. */
function joined(texts, last) {
  return texts.length < 2 ? texts.join("") : `${texts.slice(0, -1).join(", ")} ${last} ${texts.at(-1)}`
}

/** One of the rules that a node has gone by: `{rule, gives}`, each a text or an object. */
function reason({rule, gives}) {
  const keys = rule?.prefix === undefined ? written(rule) : ["The rule for keys ", prefixed(rule.prefix, "of any name")]
  return [keys, " gives: ", written(gives)]
}

function written(what) {
  if (typeof what !== "object" || what === null) return String(what)
  if (Array.isArray(what)) return what.map(written).join(", ")
  return Object.entries(what).map(([name, value]) => `${name} ${written(value)}`).join(", ")
}
