/** What a node may not tell, and what people are told behind a change of place. @module telling */

import {h} from "./dom.js"

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

/** Go to another place, and say there what was done. */
export function goAndSay(page, parts, text) {
  addEventListener("hashchange", () => page.say(text), {once: true})
  page.go(page.name, parts)
}

/** The head of a column of buttons, for readers. */
export function acts() { return h("span", {class: "unseen"}, "What to do") }

/** A form that does something; while that goes on nobody can send it again. */
export function form(page, attributes, work, ...children) {
  const made = h("form", {...attributes, onsubmit: async (event) => {
    event.preventDefault()
    await busy(event.submitter ?? made.querySelector("button"), () => page.guarded(work))
  }}, children)
  return made
}

/** A button that does something, once at a time. It keeps the focus meanwhile, which a disabled one would lose. */
export function button(page, text, work, attributes = {}) {
  const made = h("button", {type: "button", ...attributes, onclick: () => busy(made, () => page.guarded(work))}, text)
  return made
}

async function busy(button, work) {
  if (button.ariaBusy === "true") return
  button.ariaBusy = "true"
  try {
    await work()
  } finally {
    button.ariaBusy = null
  }
}
