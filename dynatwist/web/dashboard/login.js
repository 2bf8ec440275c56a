/** The form by which people log in: instead of a view, or over it when a token counts no more. @module login */

import {field, h} from "./dom.js"
import {ADMIN} from "./session.js"

/**
 * A form; `enter` is called with a name and a secret, and what it throws is shown.
 *
 * @param why what is said at first; `also` further buttons.
 */
export function loginForm({title, name, why, enter, also = null}) {
  const user = h("input", {id: "name", value: name, autocomplete: "username", required: true, spellcheck: "false"})
  const secret = h("input", {id: "password", type: "password", autocomplete: "current-password", required: true,
    autofocus: true})
  const problem = h("p", {id: "login-error", class: "error", role: "alert"}, why)
  const button = h("button", {class: "main"}, "Log in")
  const attempt = async (event) => {
    event.preventDefault()
    problem.textContent = ""
    button.disabled = true
    try {
      await enter(user.value.trim(), secret.value)
    } catch (error) {
      problem.textContent = error.message
      secret.select()
    } finally {
      button.disabled = false
    }
  }
  return h("form", {id: "login", onsubmit: attempt}, title, field("Name", user), field("Secret", secret), button, also,
    problem, h("p", {class: "hint"}, `The secret of ${ADMIN} is what `, h("code", {}, "dynakv admin-password"),
      " prints. Users see the data that they may read; members of the group admins see everything."))
}
