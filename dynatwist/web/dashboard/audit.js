/** The end of the audit log of a node: who did what, as it happens. @module audit */

import {field, h, row, table} from "./dom.js"
import {redraw} from "./listed.js"
import {UNTOLD, ifTold} from "./telling.js"

export const title = "Audit log"
/** Between two looks at what is new: a person who waits for a line sees it at once, as it were. */
const PAUSE_MS = 2000
/** Lines that are asked for at once, and lines that are kept: what a browser draws without a pause. */
const PAGE_LINES = 200
const MOST_LINES = 1000

export async function show(place, page) {
  let lines = [], after = null, node = "", isPaused = false
  const {box, body} = table("Audit log", ["Time", "Who", "What", "On", "Outcome", "From"])
  const state = h("p", {class: "hint"})
  const filter = h("input", {type: "search", value: page.query.get("only") ?? "", oninput: () => {
    page.note({only: filter.value})
    draw()
  }})
  const pause = h("button", {type: "button", "aria-pressed": "false", onclick: () => {
    isPaused = !isPaused
    pause.setAttribute("aria-pressed", String(isPaused))
    draw()
  }}, "Pause")
  place.append(h("h1", {class: "unseen"}, title),
    h("div", {class: "bar"}, field("Only lines with", filter), pause), state, box)

  function draw() {
    if (node === "") return
    const shown = lines.filter((line) => textOf(line).includes(filter.value.toLowerCase()))
    redraw(body, shown.toReversed(), (line) => line.n, rowOf)
    const paused = isPaused ? " Paused: new lines wait." : ""
    state.textContent = `${shown.length} of the last ${lines.length} lines of ${node.replace(/^https?:\/\//, "")}, `
      + `the newest first; each node has a log of its own.${paused}`
  }

  async function look() {
    if (isPaused) return
    const asked = {limit: PAGE_LINES, ...(after === null ? {} : {after})}
    const told = await ifTold(page.call("GET", `/admin/audit?${new URLSearchParams(asked)}`))
    if (told === null || !told.is_on) {
      state.textContent = told === null ? UNTOLD
        : "This node keeps no audit log. Start it with --audit-log FILE to have it write who did what."
      return
    }
    if (node && node !== page.kv.urls[0]) { // another node answers now, and counts its own lines
      lines = []
      after = null
      node = ""
      return look()
    }
    node = page.kv.urls[0]
    after = told.next
    lines = [...lines, ...told.lines].slice(-MOST_LINES)
    draw()
  }

  await page.every(PAUSE_MS, look)
}

const on = (line) => (Array.isArray(line.on) ? line.on.join(" / ") : line.on ?? "")

function textOf(line) {
  return [line.time, line.who, line.what, on(line), line.outcome, line.from].join(" ").toLowerCase()
}

function rowOf(line) {
  const isGood = ["ok", "created"].includes(line.outcome)
  return row(new Date(line.time).toLocaleString(), line.who || "somebody unknown", h("code", {}, line.what), on(line),
    h("span", {class: isGood ? "good" : "bad"}, line.outcome), line.from ?? "")
}
