/** What a user may do where, and by which rules. @module rights */

import {field, h} from "./dom.js"
import {rulesTable} from "./rules.js"
import {UNTOLD, form, ifTold} from "./telling.js"

export const title = "Rights"
const SCOPES = {
  none: () => "no record", own: (user) => `records that ${user} owns`, any: () => "every record",
  true: () => "new records", false: () => "no new records",
}
const RIGHTS = ["read", "write", "create", "update", "delete"]

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
  if (user) await page.guarded(async () => answer.append(...await said(page, user, table, key)))
  const settings = await page.call("GET", `/admin/tables/${encodeURIComponent(table)}`)
  answer.append(h("h2", {}, `Rules of ${table}`),
    h("p", {class: "hint"}, "Of these, the rule with the longest beginning that fits a key counts, alone. Administrators may do everything."),
    rulesTable(page, table, settings.access))
}

/** The node's answer in sentences, and why. */
async function said(page, user, table, key) {
  const asked = new URLSearchParams(key ? {table, key} : {table})
  const told = await ifTold(page.call("GET", `/admin/users/${encodeURIComponent(user)}/rights?${asked}`))
  if (told === null) return [h("p", {class: "hint", id: "may"}, UNTOLD)]
  const where = key ? `under the key ${key} of ${table}` : `in ${table}`
  const parts = RIGHTS.filter((right) => right in told).map((right) => `${right} ${scope(told[right], user)}`)
  return [
    h("p", {class: "verdict", id: "may"}, `${user} may, ${where}, ${parts.join("; ")}.`),
    told.groups?.length ? h("p", {}, `${user} is in the groups ${told.groups.join(", ")}.`) : null,
    told.because?.length ? h("div", {}, h("h2", {}, "Why"), h("ul", {}, told.because.map((one) => h("li", {}, reason(one))))) : null,
  ].filter(Boolean)
}

function scope(value, user) {
  return SCOPES[value]?.(user) ?? String(value)
}

function reason(one) {
  if (typeof one === "string") return one
  const {rule, gives, ...rest} = one
  const more = Object.keys(rest).length ? `: ${JSON.stringify(rest)}` : ""
  return [h("code", {}, typeof rule === "string" ? rule : JSON.stringify(rule)), " gives ",
    typeof gives === "string" ? gives : JSON.stringify(gives), more]
}
