/** Service tokens: what programs go by instead of a user's secret. @module tokens */

import {confirmed, field, h, row, shown, table} from "./dom.js"
import {ago, moment, within} from "./format.js"
import {paged, redraw} from "./listed.js"
import {acts, button, entry} from "./telling.js"

export const title = "Tokens"
/** Tokens of a page: some screens. */
const PAGE_TOKENS = 100
const RIGHTS = ["read", "create", "update", "delete"]
const LIVES = {"1 day": 86400, "30 days": 2592000, "90 days": 7776000, "1 year": 31536000, "until it is ended": null}

export async function show(place, page) {
  const {box, body} = table("Service tokens", ["Name", "May", "Made", "Ends", "Last used", acts()])
  const none = h("p", {class: "hint", hidden: true}, "There are no service tokens.")
  const list = paged(page, async (after) => {
    const found = await page.call("GET", `/admin/tokens?${new URLSearchParams({after, limit: PAGE_TOKENS})}`)
    return {items: found.tokens, next: found.next_after}
  }, (tokens) => {
    none.hidden = tokens.length > 0
    redraw(body, tokens, (one) => one.id, (one) => row(h("strong", {}, one.name), scopes(one.access), time(one.created),
      one.expires_at === null ? "never" : time(one.expires_at), one.last_used === null ? "never" : time(one.last_used),
      button(page, "End", () => end(one), {"aria-label": `End ${one.name}`})))
  })

  async function end(one) {
    const text = `Programs that use ${within(one.name)} are refused on every node within a second, and their streams end. `
      + `Their records stay.`
    if (!await confirmed({title: `End the token ${within(one.name)}?`, text, does: "End the token"})) return
    await page.call("DELETE", `/admin/tokens/${encodeURIComponent(one.id)}`, undefined, {repeatable: true})
    await list.begin()
    page.say(`The token ${within(one.name)} is ended.`)
  }

  place.append(h("h1", {class: "unseen"}, title), none, box, list.more, newToken(page, list.begin))
  await list.begin()
}

function time(ms) {
  return h("time", {datetime: new Date(ms).toISOString(), title: moment(ms)}, ago(ms))
}

function scopes(access) {
  return h("ul", {class: "bare"}, access.map((one) => h("li", {}, `${one.rights.join(", ") || "nothing"} in `,
    h("code", {}, one.table), one.prefix && [" under ", h("code", {}, one.prefix)])))
}

function newToken(page, again) {
  const name = h("input", {id: "new-token", required: true, autocomplete: "off", spellcheck: "false"})
  const life = h("select", {}, Object.keys(LIVES).map((text) => h("option", {}, text)))
  const grants = h("div")
  const more = h("button", {type: "button", onclick: () => {
    grants.append(grant(grants))
    grants.lastChild.querySelector("input").focus()
  }}, "One more place")
  grants.append(grant(grants))
  const made = entry(page, {class: "card", id: "create-token"}, async () => {
    const access = [...grants.children].map(granted)
    if (access.some((one) => !one.rights.length)) throw new Error("Tick at least one right of each place.")
    const token = await page.call("POST", "/admin/tokens", {name: name.value, access, lifetime: LIVES[life.value]})
    made.reset()
    grants.replaceChildren(grant(grants))
    await reveal(page, token)
    await again()
    name.focus()
  }, h("h2", {}, "Make a token"), field("Name", name, "What the program creates is owned by service:NAME."), grants,
  h("p", {}, more),
  field("It lives", life), h("button", {class: "main"}, "Make"))
  return made
}

/** One place where a token may do something. */
function grant(grants) {
  const boxes = RIGHTS.map((right) => h("label", {},
    h("input", {type: "checkbox", name: right, checked: right === "read"}), ` ${right}`))
  const made = h("fieldset", {class: "bar"}, h("legend", {class: "unseen"}, "It may"),
    field("Table", h("input", {name: "table", required: true, autocomplete: "off"})),
    field("Keys that begin with", h("input", {name: "prefix", autocomplete: "off", placeholder: "any"})),
    h("span", {class: "ticks", role: "group", "aria-label": "Rights"}, boxes),
    h("button", {type: "button", "aria-label": "Take away this place", onclick: () => {
      if (grants.children.length > 1) made.remove()
      grants.lastChild.querySelector("input").focus()
    }}, "Take away"))
  return made
}

function granted(fieldset) {
  const value = (name) => fieldset.querySelector(`[name=${name}]`).value
  return {table: value("table"), prefix: value("prefix"),
    rights: RIGHTS.filter((right) => fieldset.querySelector(`[name=${right}]`).checked)}
}

/** Show a token, this once. */
async function reveal(page, {name, token}) {
  const told = h("p", {role: "status"})
  const text = h("textarea", {readonly: true, id: "token", "aria-label": "The token", value: token, rows: 5})
  const copy = h("button", {type: "button", onclick: async () => {
    text.select()
    told.textContent = await copied(token) ? "Copied." : "The browser does not allow that here; copy what is selected."
  }}, "Copy")
  const dialog = h("dialog", {"aria-labelledby": "token-of", class: "token"}, h("form", {method: "dialog"},
    h("h2", {id: "token-of"}, `The token ${within(name)}`),
    h("p", {}, "It is shown this once. Keep it as a secret; whoever has it may do what it may."), text, told,
    h("p", {class: "buttons"}, copy, h("button", {class: "main"}, "I have it"))))
  page.drafts.addDialog(dialog, () => true)
  await shown(dialog)
}

/** Whether a text is on the clipboard: browsers offer that on HTTPS and on this machine only. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    return false
  }
}
