/** Long work in a dialog: how far it is, a button that stops it, and what came of it. @module progress */

import {h, holds, shown} from "./dom.js"

/** Faults that are shown: more of them would not be read. */
const MOST_FAULTS = 5
let begun = 0

/**
 * Do long work, and show how far it is.
 *
 * @param title what is done.
 * @param work gets a `Progress`; what it answers is said at the end. If that is `null`, the dialog closes.
 * @returns fulfilled once the dialog was closed.
 */
export async function worked(title, work) {
  const name = `work-${begun += 1}`
  const bar = h("progress", {"aria-labelledby": name})
  const says = h("p", {role: "status", class: "so-far"}, "…"), faults = h("ul", {class: "error"})
  const stop = h("button", {type: "button", onclick: () => { progress.isStopped = true; stop.disabled = true }}, "Stop")
  const close = h("button", {class: "main", value: "close", hidden: true}, "Close")
  const progress = new Progress(bar, says, faults)
  const dialog = h("dialog", {"aria-labelledby": name},
    h("form", {method: "dialog"}, h("h2", {id: name}, title), bar, says, faults,
      h("p", {class: "buttons"}, stop, close)))
  holds(dialog, () => close.hidden) // it is stopped by its button
  const closed = shown(dialog)
  try {
    const end = await work(progress)
    if (end === null) dialog.close()
    else says.textContent = end
  } catch (error) {
    progress.fault(error.message)
    says.textContent = `It ended before it was done. ${says.textContent}`
  }
  bar.hidden = true
  stop.hidden = true
  close.hidden = false
  close.focus()
  await closed
}

/** How far it is; work looks at `isStopped` now and then. */
class Progress {
  #bar
  #says
  #faults
  #count = 0

  constructor(bar, says, faults) {
    this.#bar = bar
    this.#says = says
    this.#faults = faults
    this.isStopped = false
  }

  /** @param share from 0 to 1; nothing where nobody knows. */
  tell(text, share) {
    this.#says.textContent = text
    if (share === undefined) this.#bar.removeAttribute("value")
    else this.#bar.value = share
  }

  /** Something went wrong; the first ones are shown. */
  fault(text) {
    this.#count += 1
    if (this.#count <= MOST_FAULTS) this.#faults.append(h("li", {}, text))
    else this.#faults.lastChild.textContent = `… and ${this.#count - MOST_FAULTS + 1} more`
  }
}
