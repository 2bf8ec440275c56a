/**
 * The dashboard: which view is shown, and what all of them have in common.
 *
 * Every view has a URL, `#/NAME/PART/...?PARAMETER=...`, and is a module with
 *
 *     export const title = "Members"
 *     export async function show(place, page)
 *
 * `place` is the element to fill, `page` a `Page`. A view ends when another one is shown: `page.signal` is aborted then.
 *
 * @module app
 */

import * as conflicts from "./conflicts.js"
import * as data from "./data.js"
import {field, h} from "./dom.js"
import * as live from "./live.js"
import * as locks from "./locks.js"
import * as members from "./members.js"
import * as overview from "./overview.js"
import * as people from "./people.js"
import * as secrets from "./secrets.js"
import {ADMIN, Session, asksForLogin} from "./session.js"

/** In the order of the navigation. */
const VIEWS = {overview, members, data, live, people, conflicts, locks, secrets}
/** What users may see who are no administrators: their rights decide what is in it. */
const FOR_ALL = ["data", "live", "conflicts"]
const $ = (id) => document.getElementById(id)
const session = new Session()
let ends = new AbortController()

/** What a view is given: where it is, whom to ask, and how to speak to people. */
class Page {
  constructor(name, parts, query, signal) {
    /** Segments behind the view's name, decoded. */
    this.parts = parts
    /** `URLSearchParams`. */
    this.query = query
    /** Aborted when the view ends. */
    this.signal = signal
    this.name = name
  }

  get kv() { return session.kv }
  get isAdmin() { return session.isAdmin }
  get user() { return session.name }

  /** `GET`, `PUT`, ...: the answer's JSON, of the first node that gives one. It ends with the view. */
  async call(method, path, body, options = {}) {
    const answer = await session.kv.call(method, path, body, {signal: this.signal, ...options})
    showNode()
    return answer
  }

  /** The same of one member alone, whichever the page asks otherwise: HOST:PORT. */
  async callAt(address, method, path, body, options = {}) {
    return session.at(address).call(method, path, body, {signal: this.signal, ...options})
  }

  /** The URL of a view. */
  at(name, parts = [], query = {}) { return urlOf(name, parts, query) }

  /** Go to another view, or to another place in this one. */
  go(name, parts = [], query = {}) { location.hash = urlOf(name, parts, query) }

  /** The same place with other parameters, without beginning anew. */
  note(query) {
    history.replaceState(null, "", urlOf(this.name, this.parts, query))
  }

  /** Say in a line what was done. */
  say(text) { $("said").textContent = text }

  /** Do something; what goes wrong is told where people see it. Answers whether it went well. */
  async guarded(work) {
    try {
      await work()
      trouble("")
      return true
    } catch (error) {
      if (this.signal.aborted) return false
      if (asksForLogin(error)) logIn(error.message)
      else trouble(error.message)
      return false
    } finally {
      showNode()
    }
  }

  /** Do something now and then again and again, with so long in between, until the view ends. */
  async every(pause_ms, work) {
    while (!this.signal.aborted) {
      if (!document.hidden) await this.guarded(work)
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, pause_ms)
        this.signal.addEventListener("abort", () => { clearTimeout(timer); resolve() }, {once: true})
      })
    }
  }
}

function urlOf(name, parts, query) {
  const path = [name, ...parts].map(encodeURIComponent).join("/")
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "")
  const search = new URLSearchParams(given).toString()
  return `#/${path}${search ? `?${search}` : ""}`
}

function placed(hash) {
  const [path, search] = hash.replace(/^#\/?/, "").split("?")
  const [name, ...parts] = path.split("/").map(decoded)
  return {name, parts, query: new URLSearchParams(search)}
}

function decoded(text) {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function trouble(text) {
  $("trouble").textContent = text
  $("trouble").hidden = text === ""
}

function showNode() {
  if (session.kv === null) return
  $("node").textContent = session.node
  $("node").classList.toggle("elsewhere", session.isElsewhere)
  $("node").title = session.isElsewhere
    ? "This page's own node does not answer: it asks this one" : "The node that this page asks"
}

function showNavigation(current) {
  const names = Object.keys(VIEWS).filter((name) => session.isAdmin || FOR_ALL.includes(name))
  $("nav").replaceChildren(...names.map((name) => h("a",
    {href: urlOf(name, [], {}), "aria-current": name === current && "page"}, VIEWS[name].title)))
  $("user").textContent = session.name
  $("top").hidden = false
}

async function show() {
  ends.abort()
  ends = new AbortController()
  for (const dialog of document.querySelectorAll("dialog")) dialog.close() // of the view that ends
  trouble("")
  $("said").textContent = ""
  if (session.kv === null) { logIn(); return }
  const {name, parts, query} = placed(location.hash)
  const allowed = (one) => one in VIEWS && (session.isAdmin || FOR_ALL.includes(one))
  if (!allowed(name)) { location.replace(urlOf(session.isAdmin ? "overview" : "data", [], {})); return }
  const page = new Page(name, parts, query, ends.signal)
  document.title = `${VIEWS[name].title} – DynaTwist`
  showNavigation(name)
  showNode()
  const place = h("div", {class: `view ${name}`})
  $("view").replaceChildren(place)
  await page.guarded(() => VIEWS[name].show(place, page))
}

function logIn(why = "") {
  ends.abort()
  session.leave()
  $("top").hidden = true
  const name = h("input", {id: "name", value: ADMIN, autocomplete: "username", required: true, spellcheck: "false"})
  const secret = h("input", {id: "password", type: "password", autocomplete: "current-password", required: true})
  const problem = h("p", {id: "login-error", class: "error", role: "alert"}, why)
  const button = h("button", {class: "main"}, "Log in")
  const form = h("form", {id: "login", onsubmit: async (event) => {
    event.preventDefault()
    problem.textContent = ""
    button.disabled = true
    try {
      await session.enter(name.value.trim(), secret.value)
      await show()
    } catch (error) {
      problem.textContent = error.message
      secret.select()
    } finally {
      button.disabled = false
    }
  }}, h("h1", {}, "DynaTwist"), field("Name", name), field("Secret", secret), button, problem,
  h("p", {class: "hint"}, `The secret of ${ADMIN} is what `, h("code", {}, "dynakv admin-password"),
    " prints. Users see the data that they may read."))
  $("view").replaceChildren(form)
  secret.focus()
}

$("logout").addEventListener("click", () => { session.leave(); logIn() })
addEventListener("hashchange", show)
session.resume()
show()
