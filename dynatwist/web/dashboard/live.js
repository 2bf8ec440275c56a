/** What changes in a table, as it happens: the newest first. @module live */

import {field, h, row, table as grid} from "./dom.js"
import {counted, number} from "./format.js"
import {sparkline} from "./plot.js"
import {remember, remembered} from "./tables.js"
import {MOST_ROWS, Tail} from "./tail.js"

export const title = "Live"
/** Between two times that rows are added: more often would not be seen. */
const PAUSE_MS = 150
/** Of the time, at most, that is spent on adding rows: where many come, they are added less often. */
const SHARE = 0.25
/** Rows that flash when they come together: where there are more, all would. */
const MOST_FLASHES = 40
const SECOND_MS = 1000
/** Tables that are offered to choose from: the field takes every other name, too. */
const MOST_OFFERED = 200
/** Characters of a value in a row. */
const SHORT = 200
/** To the millisecond: changes of one second are told apart. */
const CLOCK = new Intl.DateTimeFormat([], {
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hour12: false})

export async function show(place, page) {
  const asked = {table: page.query.get("table") ?? "", prefix: page.query.get("prefix") ?? ""}
  place.append(h("h1", {}, title), where(page, asked), page.isAdmin ? "" : h("p", {class: "hint"},
    "You hear of changes of records that the rules of the table let you read, and of no others."))
  if (asked.table) {
    remember(page, asked.table)
    new LiveView(page, asked).show(place)
  } else {
    const hint = "Name a table: what is written there, and what is deleted, is shown as it happens."
    place.append(h("p", {class: "hint"}, hint))
  }
}

/** Which table, and what of it. */
function where(page, {table, prefix}) {
  const tables = h("datalist", {id: "live-tables"}, remembered(page).map((name) => h("option", {value: name})))
  if (page.isAdmin) {
    page.guarded(async () => {
      const told = await page.call("GET", `/admin/tables?limit=${MOST_OFFERED}`)
      tables.replaceChildren(...told.tables.map((one) => h("option", {value: one.name})))
    })
  }
  const name = h("input", {
    id: "live-table", value: table, required: true, list: "live-tables", autocomplete: "off", spellcheck: "false"})
  const begins = h("input", {id: "live-prefix", value: prefix, autocomplete: "off", spellcheck: "false"})
  return h("form", {class: "bar", onsubmit: (event) => {
    event.preventDefault()
    page.go("live", [], {table: name.value, prefix: begins.value, filter: page.query.get("filter") ?? ""})
  }}, field("Table", name), field("Keys that begin with", begins), h("button", {class: "main"}, "Listen"), tables)
}

/** The changes of one table. */
class LiveView {
  #page
  #at
  #tail = new Tail()
  #state = h("span", {role: "status", class: "live-state"}, "…")
  #count = h("span", {class: "hint live-count"})
  #rate = h("span", {class: "rate"})
  #filter
  #pause = h("button", {id: "live-pause", "aria-pressed": "false", onclick: () => this.#turn()}, "Pause")
  #grid = grid("Changes, the newest first", ["Time", "Table", "Key", "What", "Value", "Owner"])

  constructor(page, at) {
    this.#page = page
    this.#at = at
    this.#filter = h("input", {id: "live-filter", type: "search", value: page.query.get("filter") ?? "",
      spellcheck: "false", autocomplete: "off", oninput: () => this.#choose()})
    this.#tail.choose(this.#filter.value)
  }

  show(place) {
    const clear = h("button", {onclick: () => this.#clear()}, "Clear")
    place.append(h("div", {class: "bar"}, field("Only rows with", this.#filter), this.#pause, clear,
      this.#rate, this.#count, this.#state), this.#grid.box)
    const seconds = setInterval(() => this.#measure(), SECOND_MS)
    this.#page.signal.addEventListener("abort", () => clearInterval(seconds), {once: true})
    this.#measure()
    this.#follow()
    this.#listen()
  }

  async #listen() {
    const {table, prefix} = this.#at, watch = this.#page.kv.watch(table, {prefix, signal: this.#page.signal})
    watch.ready.then(() => { this.#state.textContent = "Listening." }, () => {})
    const isWell = await this.#page.guarded(async () => { for await (const change of watch) this.#tail.add(change) })
    if (!isWell) this.#state.textContent = "Not listening."
  }

  #turn() {
    this.#tail.pause(!this.#tail.isPaused)
    this.#pause.setAttribute("aria-pressed", String(this.#tail.isPaused))
    this.#pause.textContent = this.#tail.isPaused ? "Go on" : "Pause"
    this.#state.textContent = this.#tail.isPaused ? "Paused." : "Listening."
    this.#draw()
  }

  #clear() {
    this.#tail.clear()
    this.#draw()
    this.#grid.body.replaceChildren()
  }

  #choose() {
    const filter = this.#filter.value
    this.#page.note({...this.#at, filter})
    this.#tail.choose(filter)
    this.#draw()
    this.#grid.body.replaceChildren(...this.#tail.rows.reverse().map((one) => this.#row(one)))
  }

  /** Add what came, and again in a while. */
  #follow() {
    const began_ms = performance.now()
    this.#draw()
    requestAnimationFrame(() => { // behind it, the rows have been laid out
      const took_ms = performance.now() - began_ms
      if (this.#page.signal.aborted) return
      setTimeout(() => this.#follow(), Math.max(PAUSE_MS, took_ms / SHARE))
    })
  }

  #draw() {
    const fresh = this.#tail.take().slice(-MOST_ROWS).reverse().map((one) => this.#row(one)), {body} = this.#grid
    body.prepend(...fresh)
    if (fresh.length <= MOST_FLASHES) fresh.forEach((item) => item.classList.add("flash"))
    while (body.rows.length > MOST_ROWS) body.lastChild.remove()
    const {count, missed, isPaused} = this.#tail
    this.#count.textContent = isPaused
      ? `${counted(missed, "change")} came since the pause` : `${counted(count, "change")} so far`
  }

  #measure() {
    const {rates} = this.#tail, now = rates.at(-1)
    this.#tail.tick()
    const label = `Changes a second, of the last minute: now ${now}, at most ${Math.max(...rates)}`
    this.#rate.replaceChildren(`${number(now)} a second `, sparkline(rates, label))
  }

  #row({notice, at_ms, table, key, what, value, owner}) {
    if (notice) return h("tr", {class: "warn"}, h("td", {colspan: 6}, notice))
    const time = new Date(at_ms), href = this.#page.at("data", [table], {key})
    const short = value.length > SHORT ? `${value.slice(0, SHORT)}…` : value
    return row(
      h("time", {datetime: time.toISOString(), title: time.toDateString()}, CLOCK.format(time)), h("bdi", {}, table),
      h("a", {href}, h("bdi", {}, key)), what,
      h("span", {class: "mono short"}, short), h("bdi", {}, owner || "–"))
  }
}
