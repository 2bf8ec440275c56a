/** A new record: only where there is none of its key. @module creation */

import {PreconditionFailed} from "/client/dynakv.js"
import {field, h, shown} from "./dom.js"
import {editor} from "./editor.js"
import {compact} from "./json.js"
import {asksForLogin} from "./session.js"
import {write} from "./store.js"

/** A value that nothing was typed into. */
const EMPTY = "{\n  \n}"

/** Ask for a key and a value, and write them; answers the key, or an empty text where nothing was written. */
export async function created(page, table, prefix) {
  const key = h("input", {id: "new-key", value: prefix, required: true, autocomplete: "off", spellcheck: "false"})
  const ttl = h("input", {type: "number", min: 1, max: 315360000, step: 1})
  const fault = h("p", {class: "error", role: "alert"})
  const save = h("button", {class: "main"}, "Save")
  const value = editor({label: "Value, as JSON", text: EMPTY, onchange: (isValid) => { save.disabled = !isValid }})
  const attempt = async () => {
    fault.textContent = ""
    save.disabled = true
    try {
      await write(page, table, key.value, compact(value.text), {isNew: true, ttl_s: ttl.value || undefined})
      dialog.close("saved")
    } catch (error) {
      if (asksForLogin(error)) throw error
      fault.textContent = error instanceof PreconditionFailed
        ? "There is a record of that key already: open it to change it." : error.message
    } finally {
      save.disabled = false
    }
  }
  const attributes = {class: "wide", "aria-labelledby": "creation"}
  const isEdited = () => key.value !== prefix || ttl.value !== "" || value.text !== EMPTY
  const cancel = async () => { if (!isEdited() || await page.drafts.mayLose()) dialog.close("") }
  const onsubmit = (event) => { event.preventDefault(); page.guarded(attempt) }
  const dialog = h("dialog", attributes, h("form", {method: "dialog", onsubmit},
    h("h2", {id: "creation"}, "New record in ", h("bdi", {}, table)),
    field("Key", key, "Up to 1,024 bytes; / is a character like others, and makes folders here."),
    value.box, field("Time to live, seconds", ttl, "Empty: it has no end, or the table's usual one."), fault,
    h("p", {class: "buttons"}, h("button", {type: "button", onclick: cancel}, "Cancel"), save)))
  page.drafts.addDialog(dialog, isEdited)
  return await shown(dialog) === "saved" ? key.value : ""
}
