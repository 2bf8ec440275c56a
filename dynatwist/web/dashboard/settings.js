/** How a table is kept, and who may do what in it: shown and set by an administrator. @module settings */

import {confirmed, field, h} from "./dom.js"
import {editor} from "./editor.js"
import {within} from "./format.js"
import {JsonError, checkJson} from "./json.js"
import {indented} from "./layout.js"
import {asksForLogin} from "./session.js"

const FIELDS = ["prefix", "read", "create", "update", "delete", "write"]

/** A part of the page that opens, and asks for the settings then. */
export function settings(page, table) {
  const box = h("details", {class: "card settings"}, h("summary", {}, "Settings and rights"))
  box.addEventListener("toggle", () => { if (box.open) page.guarded(() => show(box, page, table)) }, {once: true})
  return box
}

async function show(box, page, table) {
  const path = `/admin/tables/${encodeURIComponent(table)}`
  let held = await page.call("GET", path)
  const consistency = h("select")
  const ttl = h("input", {type: "number", min: 0, step: 1, required: true})
  const size = h("input", {type: "number", min: 1, step: 1, required: true})
  const save = h("button", {class: "main"}, "Save settings")
  const onchange = (isValid) => { save.disabled = !isValid }
  const rules = editor({label: "Rules, as JSON", text: "[]", check: checkRules, onchange})
  const fault = h("p", {class: "error", role: "alert"})
  const fill = (told) => {
    held = told
    const kinds = [...new Set(["available", "strong", told.consistency])] // it may be closing just now
    consistency.replaceChildren(...kinds.map((one) => h("option", {value: one}, one)))
    consistency.value = told.consistency
    ttl.value = told.default_ttl
    size.value = told.max_value
    rules.set(indented(JSON.stringify(told.access)))
  }
  const attempt = async (said, work) => {
    fault.textContent = ""
    try {
      fill(await work())
      page.say(said)
    } catch (error) {
      if (asksForLogin(error)) throw error
      fault.textContent = error.message
    }
  }
  const changed = () => {
    const wanted = {consistency: consistency.value, access: JSON.parse(rules.text), default_ttl: Number(ttl.value),
      max_value: Number(size.value)}
    const isOther = ([name, one]) => JSON.stringify(one) !== JSON.stringify(held[name])
    return Object.fromEntries(Object.entries(wanted).filter(isOther))
  }
  const reset = async () => {
    const isSure = await confirmed({title: `Take back all settings of ${within(table)}`, does: "Take back",
      text: "The table is kept as usual then: everybody reads and changes what is their own."})
    if (isSure) await attempt("The settings were taken back.", () => page.call("DELETE", path))
  }
  box.append(h("form", {onsubmit: (event) => {
    event.preventDefault()
    const fields = changed()
    if (!Object.keys(fields).length) fault.textContent = "Nothing was changed."
    else page.guarded(() => attempt("The settings were saved.", () => page.call("PUT", path, fields)))
  }},
  h("div", {class: "bar"},
    field("Consistency", consistency, "Can be changed while the table is empty."),
    field("Time to live, seconds", ttl, "Of puts that name none; 0: for ever."),
    field("Largest value, bytes", size, "No more than the nodes take.")),
  h("p", {class: "hint"}, "The rule with the longest prefix that fits a key counts, alone. Principals: user:NAME, "
    + "group:NAME, owner, * (anybody who is logged in), anonymous (to read); {user} in a prefix is the caller's name."),
  rules.box, fault,
  h("p", {class: "buttons"}, h("button", {type: "button", onclick: () => page.guarded(reset)}, "Take all settings back"), save)))
  fill(held)
  page.drafts.add(() => !rules.isValid || Object.keys(changed()).length > 0)
}

/** What can be seen of rules without asking a node. */
function checkRules(text) {
  checkJson(text)
  const rules = JSON.parse(text)
  const example = "[{\"prefix\": \"\", \"read\": [\"owner\"], ...}]"
  if (!Array.isArray(rules)) throw new JsonError(text, 0, `rules are a list: ${example}`)
  rules.forEach((rule, at) => {
    if (rule === null || typeof rule !== "object" || Array.isArray(rule)) throw new Error(`rule ${at + 1} is no object`)
    for (const [name, value] of Object.entries(rule)) {
      if (!FIELDS.includes(name)) throw new Error(`rule ${at + 1} has no ${name}; a rule has ${FIELDS.join(", ")}`)
      const isRight = name === "prefix" ? typeof value === "string"
        : Array.isArray(value) && value.every((one) => typeof one === "string")
      if (!isRight) throw new Error(`rule ${at + 1}: ${name} is ${name === "prefix" ? "a text" : "a list of texts"}`)
    }
  })
}
