/** A field for JSON that says as one types what is wrong, and where. @module editor */

import {h} from "./dom.js"
import {JsonError, checkObject} from "./json.js"
import {indented} from "./layout.js"

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
    "aria-label": label, "aria-describedby": name, oninput: changed,
  })
  const jump = h("button", {type: "button", hidden: true, onclick: () => {
    area.focus()
    area.setSelectionRange(found.at, found.at + 1)
  }}, "Go there")
  const form = h("button", {type: "button", onclick: () => { set(indented(area.value)) }}, "Indent")
  let found = null

  function set(fresh) {
    area.value = fresh
    changed()
  }

  function changed() {
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
    get isValid() { return found === null },
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
