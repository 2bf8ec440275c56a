/** The rules of a table, in words. @module rules */

import {h, row, table} from "./dom.js"

const WORDS = {owner: "the record's owner", "*": "every user", anonymous: "anybody, without a login"}

/** Rules as a table: whom each right is given to under the keys with a prefix. */
export function rulesTable(page, name, rules) {
  const {box, body} = table(`Rules of ${name}`, ["Keys", "Read", "Create", "Update", "Delete"])
  const others = rules.length > 1 ? "all other keys" : "all keys"
  body.append(...rules.map((rule) => row(prefixed(rule.prefix, others), granted(page, rule.read),
    granted(page, rule.create, "whoever creates it"), granted(page, rule.update), granted(page, rule.delete))))
  return box
}

/** Which keys begin with a prefix, in words. */
export function prefixed(prefix, others) {
  if (prefix === "") return others
  const [front, ...behind] = prefix.split("{user}")
  if (!behind.length) return ["that begin with ", h("code", {}, prefix)]
  return ["that begin with ", front && h("code", {}, front), front && " and ", "the user's own name",
    behind[0] && " and ", behind[0] && h("code", {}, behind[0])]
}

/** Principals in words, with links to users and groups. */
function granted(page, principals, owner = WORDS.owner) {
  if (!principals.length) return h("span", {class: "hint"}, "nobody")
  return principals.map((one, at) => [at ? ", " : "", principal(page, one, owner)])
}

function principal(page, text, owner) {
  if (text === "owner") return owner
  if (Object.hasOwn(WORDS, text)) return WORDS[text]
  const [kind, ...rest] = text.split(":"), name = rest.join(":")
  return [kind === "group" ? "the group " : "", h("a", {href: page.at("people", [`${kind}s`, name])}, name)]
}
