/** What was typed and is not saved yet: the page asks before anybody loses it. @module drafts */

import {confirmed, holds} from "./dom.js"

const FIELDS = "input, select, textarea"

export class Drafts {
  #all = new Set()
  #saved = new WeakMap()

  /**
   * Something that may hold what is not saved, as long as the view is shown.
   *
   * @param isEdited tells whether it does.
   * @returns forgets it.
   */
  add(isEdited) {
    this.#all.add(isEdited)
    return () => this.#all.delete(isEdited)
  }

  /** The same of a form, of which nothing is typed yet. */
  addForm(form) {
    this.settle(form)
    return this.add(() => form.isConnected && this.#saved.get(form) !== typed(form))
  }

  /** What is in a form now is saved. */
  settle(form) { this.#saved.set(form, typed(form)) }

  /** The same of a dialog, which asks before Escape closes it. */
  addDialog(dialog, isEdited) {
    dialog.addEventListener("close", this.add(isEdited), {once: true})
    holds(dialog, isEdited, async () => { if (await this.mayLose()) dialog.close("") })
  }

  get isEdited() { return [...this.#all].some((isEdited) => isEdited()) }

  /** Nothing of the view that ends is looked at any more. */
  clear() { this.#all.clear() }

  /** Whether nothing would be lost, or somebody says that it may be. */
  async mayLose() {
    return !this.isEdited || confirmed({title: "Not saved yet", does: "Throw my changes away",
      text: "What you have typed here is not saved."})
  }
}

/** All that can be typed into a form, as a text. */
function typed(form) {
  const values = [...form.querySelectorAll(FIELDS)]
    .map((one) => (one.type === "checkbox" ? one.checked : one.value))
  return JSON.stringify(values)
}
