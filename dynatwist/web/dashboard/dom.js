/**
 * Making elements. Whatever comes from a node goes in as text, never as markup: a key may be called `<script>`.
 *
 * @module dom
 */

const SVG = "http://www.w3.org/2000/svg"

function built(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value)
    else if (name === "value" || name === "checked") node[name] = value
    else node.setAttribute(name, value === true ? "" : value)
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false))
  return node
}

/** An element: `h("a", {href, class, onclick}, "text", another, [more])`; what is null or false is left out. */
export function h(tag, attributes = {}, ...children) {
  return built(document.createElement(tag), attributes, children)
}

/** The same of SVG. */
export function s(tag, attributes = {}, ...children) {
  return built(document.createElementNS(SVG, tag), attributes, children)
}

/**
 * A table in a box that scrolls by itself.
 *
 * @param caption for readers that do not see it.
 * @param heads texts of the columns, or elements.
 * @returns `{box, body}`; rows go into the body.
 */
export function table(caption, heads) {
  const body = h("tbody")
  const head = h("thead", {}, h("tr", {}, heads.map((text) => h("th", {scope: "col"}, text))))
  const box = h("div", {class: "scrolls", role: "region", "aria-label": caption, tabindex: 0},
    h("table", {}, h("caption", {class: "unseen"}, caption), head, body))
  return {box, body}
}

/** A row of cells: texts or elements. */
export function row(...cells) {
  return h("tr", {}, cells.map((cell) => h("td", {}, cell ?? "–")))
}

/** A field with its label; `hint` says more. */
export function field(label, input, hint) {
  return h("label", {class: "field"}, h("span", {}, label), input, hint ? h("small", {}, hint) : null)
}

let asked = 0

/**
 * A question before something that cannot be taken back.
 *
 * @param says `{title, text, does, typed}`: what follows from it, as a text or elements; what the button says; a word
 *     that has to be typed first, where much is at stake.
 * @returns whether it was confirmed.
 */
export function confirmed({title, text, does, typed}) {
  const name = `asked-${asked += 1}`
  const word = typed ? h("input", {autocomplete: "off", oninput: () => { go.disabled = word.value !== typed }}) : null
  const go = h("button", {class: "danger", value: "yes", disabled: Boolean(typed)}, does)
  const dialog = h("dialog", {"aria-labelledby": name},
    h("form", {method: "dialog"}, h("h2", {id: name}, title), h("div", {}, text),
      typed ? field(`Type ${typed}`, word) : null,
      h("p", {class: "buttons"}, h("button", {value: "no", formnovalidate: true}, "Cancel"), go)))
  return shown(dialog).then((value) => value === "yes")
}

/** Show a dialog until it is closed; answers the value of the button that closed it, and takes it away. */
export function shown(dialog) {
  holds(dialog, () => true, () => dialog.close("")) // a browser may close all that are open by the same Escape
  document.body.append(dialog)
  dialog.showModal()
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => { dialog.remove(); resolve(dialog.returnValue) }, {once: true})
  })
}

/**
 * Have a dialog stay, and do something `instead`, when Escape or what stands for it would close a dialog that is held.
 * A browser takes such a refusal once, unless the key itself is refused.
 */
export function holds(dialog, isHeld, instead = () => {}) {
  const refuse = (event) => {
    if (event.defaultPrevented || !isHeld()) return // another one has refused, or nobody has to
    event.preventDefault()
    instead()
  }
  dialog.addEventListener("keydown", (event) => { if (event.key === "Escape") refuse(event) })
  dialog.addEventListener("cancel", (event) => { if (event.target === dialog) refuse(event) })
}

/** Have something flash, since it has changed. */
export function flash(node) {
  node.classList.remove("flash")
  void node.offsetWidth // or the animation would not begin anew
  node.classList.add("flash")
}
