/** A field for JSON that says as one types what is wrong, and where. @module editor */

import {h} from "./dom.js"
import {JsonError, checkObject} from "./json.js"
import {indented} from "./layout.js"

/** Characters from which on a text is looked at when nobody has typed for a while: one look takes as long as some keys. */
const LARGE_CHARS = 50_000
const PAUSE_MS = 300
let made = 0

/**
 * @param label what is edited.
 * @param text what it begins with.
 * @param check throws what is wrong with a text; a JSON object is wanted unless another check is given.
 * @param onchange called after each change, and with whether it is well-formed.
 * @returns `{box, area, text, set, isValid}`.
 */
export function editor({label, text = "", check = checkObject, onchange = () => {}}) {
  const name = `json-${made += 1}`
  const fault = h("output", {id: name, class: "error fault", role: "status"})
  const area = h("textarea", {
    value: text, spellcheck: "false", autocapitalize: "off", autocomplete: "off", wrap: "off", dir: "ltr",
    "aria-label": label, "aria-describedby": name, oninput: typed,
  })
  const jump = h("button", {type: "button", hidden: true, onclick: () => {
    area.focus()
    area.setSelectionRange(found.at, found.at + 1)
  }}, "Go there")
  const form = h("button", {type: "button", onclick: () => { set(indented(area.value)) }}, "Indent")
  let found = null, timer = null

  function set(fresh) {
    if (area.value !== fresh) area.value = fresh // a browser lays all of it out anew
    changed()
  }

  function typed() {
    clearTimeout(timer)
    timer = null
    if (area.value.length < LARGE_CHARS) changed()
    else timer = setTimeout(changed, PAUSE_MS)
  }

  function changed() {
    clearTimeout(timer)
    timer = null
    found = faultOf(area.value, check)
    fault.textContent = found?.message ?? ""
    area.setAttribute("aria-invalid", String(found !== null))
    jump.hidden = !(found instanceof JsonError)
    form.disabled = found !== null
    onchange(found === null)
  }

  changed()
  return {
    box: h("div", {class: "editor"}, area, h("div", {class: "bar under"}, form, fault, jump)),
    area, set,
    get text() { return area.value },
    get isValid() {
      if (timer !== null) changed()
      return found === null
    },
  }
}

function faultOf(text, check) {
  try {
    check(text)
    return null
  } catch (error) {
    return error
  }
}
