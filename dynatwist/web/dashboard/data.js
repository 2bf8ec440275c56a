/** Tables, their keys, and a record to edit; all of it changes as others write. @module data */

import {created} from "./creation.js"
import {h} from "./dom.js"
import {Keys} from "./keys.js"
import {RecordView} from "./record.js"
import {asksForLogin} from "./session.js"
import {settings} from "./settings.js"
import {sweep} from "./sweep.js"
import {remember, showTables} from "./tables.js"
import {exported, imported} from "./transfer.js"

export const title = "Data"
/** What divides keys into folders; `none` shows them flat. */
const SEPARATORS = {"/": "by /", ":": "by :", none: "flat"}
/** For the watch to stand before the list is read: where no node opens one, the list is shown all the same. */
const STAND_MS = 1000

export async function show(place, page) {
  const [table] = page.parts
  if (!table) await showTables(place, page)
  else await new TableView(page, table).show(place)
}

/** A table, or what is under a prefix of it. */
class TableView {
  #page
  #table
  #at
  #keys
  #record = null
  #side = h("div", {class: "side"})
  #state = h("span", {class: "hint live-state", role: "status"})

  constructor(page, table) {
    const sep = page.query.get("sep") ?? "/"
    this.#page = page
    this.#table = table
    this.#at = {table, prefix: page.query.get("prefix") ?? "", separator: sep === "none" ? "" : sep,
      after: page.query.get("after") ?? ""}
    this.#keys = new Keys(page, this.#at, (key) => page.guarded(() => this.#open(key)))
  }

  async show(place) {
    const page = this.#page, key = page.query.get("key")
    place.append(this.#trail(), this.#bar(), this.#actions(), page.isAdmin ? settings(page, this.#table) : h("p", {class: "hint"},
      "You see the keys that the rules of this table let you read. Only administrators see and change the rules."),
      h("div", {class: "split"}, this.#keys.box, this.#side))
    remember(page, this.#table)
    page.drafts.add(() => this.#isEdited)
    const watch = this.#listen(key)
    addEventListener("entered", () => { this.#listen(key); page.guarded(() => this.#reload()) }, {signal: page.signal})
    await Promise.race([watch.ready.catch(() => {}), new Promise((resolve) => { setTimeout(resolve, STAND_MS) })])
    await this.#keys.load()
    if (key) await this.#open(key)
    if (page.query.get("new")) await this.#create()
  }

  /** Hear of changes; `key` is that of a record beside the keys, which may have another prefix. */
  #listen(key) {
    const isAmong = key?.startsWith(this.#at.prefix) ?? true, {signal} = this.#page
    const watch = this.#page.kv.watch(this.#table, {prefix: isAmong ? this.#at.prefix : "", signal})
    this.#follow(watch)
    return watch
  }

  async #follow(watch) {
    watch.ready.then(() => { this.#state.textContent = "Changes are shown as they happen." }, () => {})
    try {
      for await (const change of watch) {
        if (change.type === "lagged" || change.type === "reset") this.#page.guarded(() => this.#reload())
        else this.#heard(change)
      }
    } catch (error) {
      this.#state.textContent = `Changes are not shown: ${error.message}`
      if (asksForLogin(error)) this.#page.guarded(() => { throw error })
    }
  }

  #heard(change) {
    this.#keys.change(change.key, change.type === "Deleted")
    if (change.key === this.#record?.key) this.#record.view.change(change)
  }

  get #url() {
    const {prefix, separator, after} = this.#at
    return {prefix, sep: separator === "/" ? "" : separator || "none", after}
  }

  async #reload() {
    await this.#keys.load()
    await this.#record?.view.load()
  }

  /** Show a record beside the keys. */
  async #open(key) {
    if (!await this.#mayLeave()) return
    const view = new RecordView(this.#page, this.#table, key, () => this.#page.guarded(() => this.#close(key)))
    this.#record = {key, view}
    this.#side.replaceChildren(view.box)
    this.#keys.mark(key)
    this.#page.note({...this.#url, key})
    await view.load()
    view.focus()
  }

  async #close(key) {
    if (!await this.#mayLeave()) return
    this.#record = null
    this.#side.replaceChildren()
    this.#keys.mark(null)
    this.#page.note(this.#url)
    this.#keys.focus(key)
  }

  get #isEdited() { return this.#record?.view.isEdited ?? false }

  async #mayLeave() { return !this.#isEdited || this.#page.drafts.mayLose() }

  async #create() {
    const key = await created(this.#page, this.#table, this.#at.prefix)
    if (!key) return
    this.#page.say("Saved.")
    await this.#keys.load()
    await this.#open(key)
  }

  async #exportShown() {
    const keys = this.#keys.shown
    if (keys.length) await exported(this.#page, {table: this.#table, prefix: this.#at.prefix, keys})
    else this.#page.say("Nothing was exported: no keys are shown here, or only folders.")
  }

  /** Where one is, each part a link. */
  #trail() {
    const {prefix, separator} = this.#at, page = this.#page
    const parts = separator ? prefix.split(separator).slice(0, -1) : []
    const folders = parts.map((part, at) => {
      const folder = parts.slice(0, at + 1).map((one) => one + separator).join("")
      const href = page.at("data", [this.#table], {...this.#url, prefix: folder, after: ""})
      return [" ", h("a", {href}, h("bdi", {}, part + separator))]
    })
    return h("h1", {class: "trail"}, h("a", {href: page.at("data")}, "Data"), " › ",
      h("a", {href: page.at("data", [this.#table], {sep: this.#url.sep})}, h("bdi", {}, this.#table)),
      folders.length ? " › " : null, folders)
  }

  #bar() {
    const {separator} = this.#at, page = this.#page
    const prefix = h("input", {
      id: "prefix", type: "search", value: this.#at.prefix, spellcheck: "false", autocomplete: "off"})
    const search = h("form", {class: "bar", role: "search", onsubmit: (event) => {
      event.preventDefault()
      page.go("data", [this.#table], {...this.#url, prefix: prefix.value, after: ""})
    }}, h("label", {class: "field"}, h("span", {}, "Keys that begin with"), prefix), h("button", {}, "Search"))
    const choice = h("div", {class: "choice", role: "group", "aria-label": "Folders"},
      Object.entries(SEPARATORS).map(([sep, text]) => h("button", {
        "aria-pressed": String(sep === (separator || "none")),
        onclick: () => page.go("data", [this.#table], {prefix: this.#at.prefix, sep}),
      }, text)))
    return h("div", {class: "bar"}, search, choice,
      h("a", {href: page.at("live", [], {table: this.#table, prefix: this.#at.prefix})}, "Watch in Live"), this.#state)
  }

  #actions() {
    const {prefix} = this.#at, page = this.#page, table = this.#table
    const button = (id, text, work) => h("button", {id, onclick: () => page.guarded(work)}, text)
    const under = prefix ? "all under the prefix" : "the whole table"
    return h("div", {class: "bar"},
      button("new-record", "New record", () => this.#create()),
      button("export-shown", "Export what is shown", () => this.#exportShown()),
      button("export-all", `Export ${under}`, () => exported(page, {table, prefix})),
      button("import", "Import", async () => { if (await imported(page, table)) await this.#reload() }),
      button("sweep", `Delete ${under}…`, async () => { if (await sweep(page, table, prefix)) await this.#reload() }))
  }
}
