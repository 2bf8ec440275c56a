/** What a node may not tell, and what people are told behind a change of place. @module telling */

import {h} from "./dom.js"
import {asksForLogin} from "./session.js"
import {isUnspeakable} from "./store.js"

/** What is shown instead of what an older node has no route for. */
export const UNTOLD = "This node does not tell: it runs an older release."

/** What a node answers; `null` where it does not know the path, as an older release does not. */
export async function ifTold(answer) {
  try {
    return await answer
  } catch (error) {
    if (error.status === 404 && error.code === "not_found") return null
    throw error
  }
}

/** A user's or a group's name as a segment of a path. */
export function segment(name) {
  if (!isUnspeakable(name)) return encodeURIComponent(name)
  throw new Error(`a browser takes ${name} out of every URL, so this page can neither show nor change what is called so`)
}

/** Go to another place, and say there what was done. */
export function goAndSay(page, parts, text) {
  addEventListener("hashchange", () => page.say(text), {once: true})
  page.go(page.name, parts)
}

/** Have a line say something. Readers speak a live region anew at each assignment, so it is made only where it differs. */
export function tell(line, text) {
  if (line.textContent !== text) line.textContent = text
}

/** The head of a column of buttons, for readers. */
export function acts() { return h("span", {class: "unseen"}, "What to do") }

/** A form that does something; while that goes on nobody can send it again. */
export function form(page, attributes, work, ...children) {
  const made = h("form", {...attributes, onsubmit: (event) => {
    event.preventDefault()
    busy(page, event.submitter ?? made.querySelector("button"), work)
  }}, children)
  return made
}

/** The same of what somebody would have to type again: the page asks before that is lost. */
export function entry(page, attributes, work, ...children) {
  const made = form(page, attributes, async () => {
    await work()
    page.drafts.settle(made)
  }, ...children)
  page.drafts.addForm(made)
  return made
}

/** A button that does something, once at a time. It keeps the focus meanwhile, which a disabled one would lose. */
export function button(page, text, work, attributes = {}) {
  const made = h("button", {type: "button", ...attributes, onclick: () => busy(page, made, work)}, text)
  return made
}

/** Do it; what goes wrong is told beside the button, where it stays until the button is pressed again. */
async function busy(page, button, work) {
  if (button.ariaBusy === "true" || button.ariaDisabled === "true") return
  button.ariaBusy = "true"
  if (button.nextSibling?.className === "error") button.nextSibling.remove()
  await page.guarded(async () => {
    try {
      await work()
    } catch (error) {
      if (page.signal.aborted || asksForLogin(error)) throw error
      button.after(h("p", {class: "error", role: "alert"}, error.message))
    } finally {
      button.ariaBusy = null
    }
  })
}
