/**
 * The dashboard: which view is shown, and what all of them have in common.
 *
 * Every view has a URL, `#/NAME/PART/...?PARAMETER=...`, and is a module with
 *
 *     export const title = "Members"
 *     export async function show(place, page)
 *
 * `place` is the element to fill, `page` a `Page`. A view ends when another one is shown: `page.signal` is aborted then.
 * What somebody types there and would miss, a view names to `page.drafts`: the page asks before that is lost. When a token
 * counts no more, such a view stays, and hears of `entered` at the window once somebody has logged in again.
 *
 * @module app
 */

import * as conflicts from "./conflicts.js"
import * as data from "./data.js"
import {h, holds, shown} from "./dom.js"
import {Drafts} from "./drafts.js"
import * as entries from "./entries.js"
import * as live from "./live.js"
import * as locks from "./locks.js"
import {loginForm} from "./login.js"
import * as members from "./members.js"
import * as overview from "./overview.js"
import * as people from "./people.js"
import * as secrets from "./secrets.js"
import {ADMIN, Session, asksForLogin} from "./session.js"

/** In the order of the navigation. */
const VIEWS = {overview, members, data, live, people, conflicts, locks, secrets}
/** What users may see who are no administrators: the rules of the tables decide what is in it. */
const FOR_ALL = ["data", "live", "conflicts"]
const $ = (id) => document.getElementById(id)
const session = new Session()
const drafts = new Drafts()
let ends = new AbortController()
/** Whether somebody is asked something that decides where the page goes. */
let isAsking = false

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
  /** What was typed in the view and is not saved. */
  get drafts() { return drafts }
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
  note(query) { entries.replace(urlOf(this.name, this.parts, query)) }

  /** Say in a line what was done. */
  say(text) { $("said").textContent = text }

  /** Do something; what goes wrong is told where people see it. Answers whether it went well. */
  async guarded(work) {
    try {
      await work()
      if (!this.signal.aborted) trouble("") // or it would be that of the view which is shown by now
      return true
    } catch (error) {
      if (this.signal.aborted) return false
      if (asksForLogin(error)) logInAgain(error.message)
      else trouble(error.message)
      if (error.code === "admin_only") lookAgain(this)
      return false
    } finally {
      showNode()
    }
  }

  /** Do something now and then again and again, with so long in between, until the view ends. */
  async every(pause_ms, work) {
    while (!this.signal.aborted) {
      if (!document.hidden && !isAsking) await this.guarded(work)
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

const isForAll = (name) => FOR_ALL.includes(name)

async function show() {
  ends.abort()
  ends = new AbortController()
  for (const dialog of document.querySelectorAll("dialog")) dialog.close() // of the view that ends
  drafts.clear()
  entries.arrive()
  trouble("")
  $("said").textContent = ""
  if (session.kv === null) { logIn(); return }
  const {name, parts, query} = placed(location.hash)
  if (!Object.hasOwn(VIEWS, name)) {
    entries.replace(urlOf(session.isAdmin ? "overview" : "data", [], {}))
    return show()
  }
  const page = new Page(name, parts, query, ends.signal)
  document.title = `${VIEWS[name].title} – DynaTwist`
  showNavigation(name)
  showNode()
  lookAgain(page)
  const place = h("div", {class: `view ${name}`})
  $("view").replaceChildren(place)
  if (session.isAdmin || isForAll(name)) await page.guarded(() => VIEWS[name].show(place, page))
  else place.append(h("h1", {}, VIEWS[name].title), refusal(page))
}

/** Who is an administrator may have changed since; then the page is another one, unless somebody types in it. */
async function lookAgain(page) {
  const before = session.isAdmin
  await session.look().catch(() => {}) // the view tells what is wrong
  if (page.signal.aborted || session.isAdmin === before) return
  if (drafts.isEdited) showNavigation(page.name)
  else await show()
}

/** Instead of a view that is not for this user. */
function refusal(page) {
  return h("p", {class: "hint"}, "This is for administrators, and ", h("bdi", {}, page.user), " is none: the group admins ",
    "has them as its members. What you may do is under ", h("a", {href: page.at("data")}, "Data"), ".")
}

/** The address has changed: by a link, by hand, or by the browser's buttons. */
async function move() {
  if (!entries.hasMoved() || isAsking) return
  if (drafts.isEdited) {
    const mayLeave = await asked(() => drafts.mayLose())
    if (!entries.hasMoved()) return // somebody went back meanwhile
    if (!mayLeave) return entries.goBack()
  }
  await show()
}

async function asked(question) {
  isAsking = true
  try {
    return await question()
  } finally {
    isAsking = false
  }
}

function logIn(why = "") {
  ends.abort()
  session.leave()
  drafts.clear()
  $("top").hidden = true
  const form = loginForm({title: h("h1", {}, "DynaTwist"), name: ADMIN, why, enter: async (name, secret) => {
    await session.enter(name, secret)
    const isHere = session.isAdmin || isForAll(placed(location.hash).name)
    if (!isHere) entries.replace(urlOf("data", [], {}))
    await show()
  }})
  $("view").replaceChildren(form)
  form.querySelector("#password").focus()
}

/** The token counts no more. What is shown stays while somebody logs in again, as does what is typed there. */
async function logInAgain(why) {
  if (isAsking || session.kv === null) return
  const before = session.name
  const leave = h("button", {type: "button", onclick: () => dialog.close("")}, "Log out")
  const form = loginForm({title: h("h2", {id: "again"}, "Log in again"), name: before, why, also: leave,
    enter: async (name, secret) => {
      await session.enter(name, secret)
      dialog.close("entered")
    }})
  const dialog = h("dialog", {"aria-labelledby": "again"}, form)
  holds(dialog, () => true)
  const hasEntered = await asked(() => shown(dialog)) === "entered"
  if (!hasEntered) logIn()
  else if (session.name !== before || !drafts.isEdited) await show()
  else {
    dispatchEvent(new Event("entered"))
    await move()
  }
}

async function leave() {
  if (await asked(() => drafts.mayLose())) logIn()
  else await move()
}

$("logout").addEventListener("click", leave)
addEventListener("hashchange", move)
addEventListener("beforeunload", (event) => { if (drafts.isEdited) event.preventDefault() })
session.resume()
show()
