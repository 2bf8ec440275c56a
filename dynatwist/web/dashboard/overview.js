/** How the cluster is, in a sentence; what to do about it; and how that went over time. @module overview */

import {h} from "./dom.js"
import {bytes, number, span} from "./format.js"
import {BYTES, plot} from "./plot.js"

export const title = "Overview"
/** Between two looks: as often as the finest figures are taken. */
const PAUSE_MS = 5000
const SPANS = {"10m": "10 minutes", "1h": "1 hour", "24h": "24 hours"}
const milliseconds = (value) => span(value / 1000)
const percent = (value) => `${number(value * 100)} %`

/** Title, series with their names, how the nodes' values become one, how it is written and rounded. */
const PLOTS = [
  ["Requests a second", {requests_get: "GET", requests_put: "PUT", requests_patch: "PATCH", requests_delete: "DELETE",
    websocket_operations: "websocket", requests_other: "others"}, sum],
  ["Answers a second", {answers_2xx: "done", answers_4xx: "refused", answers_5xx: "failed"}, sum],
  ["Time to answer", {p50_ms: "half of all", p99_ms: "99 of 100"}, most, milliseconds],
  ["fsync, 99 of 100", {fsync_p99_ms: "fsync"}, most, milliseconds],
  ["Writes reach other owners within, 99 of 100", {replication_lag_p99_ms: "lag"}, most, milliseconds],
  ["Memory of the largest node", {memory_bytes: "process", store_bytes: "records",
    memory_limit_bytes: "limit of records"}, most, bytes, BYTES],
  ["Connections", {connections: "HTTP", websockets: "websockets", sse: "event streams"}, sum],
  ["Listeners", {subscriptions: "subscriptions"}, sum],
  ["Events handed out a second", {events: "events"}, sum],
  ["Processor, busiest node", {cpu: "share of a core"}, most, percent],
  ["Hints that wait for members that are away", {hints: "hints"}, sum],
  ["Longest turn of the reactor, 99 of 100", {turn_p99_ms: "turn"}, most, milliseconds],
]

export async function show(place, page) {
  const sentence = h("p", {class: "verdict", role: "status", "aria-live": "polite"}, "…")
  const advice = h("ul", {class: "advice"})
  const tiles = h("dl", {class: "tiles"})
  let chosen = page.query.get("span") in SPANS ? page.query.get("span") : "10m"
  let node = page.query.get("node") ?? ""
  const spans = h("div", {class: "choice", role: "group", "aria-label": "Over which time"},
    Object.entries(SPANS).map(([key, text]) => h("button", {"aria-pressed": String(key === chosen), onclick: (event) => {
      chosen = key
      for (const one of spans.children) one.setAttribute("aria-pressed", String(one === event.target))
      page.note({span: chosen, node})
      page.guarded(showHistory)
    }}, text)))
  const nodes = h("select", {"aria-label": "Of which node", onchange: () => {
    node = nodes.value
    page.note({span: chosen, node})
    page.guarded(showHistory)
  }}, h("option", {value: ""}, "All nodes"))
  const plots = PLOTS.map(([text, series, together, format, base]) => ({
    keys: Object.keys(series), together, ...plot({title: text, format, base, names: Object.values(series)})}))
  const unheard = h("p", {class: "hint"})
  place.append(h("h1", {class: "unseen"}, title), sentence, advice, tiles,
    h("div", {class: "bar"}, spans, nodes), unheard, h("div", {class: "plots"}, plots.map(({box}) => box)))

  async function showVerdict() {
    const told = await page.call("GET", "/admin/overview")
    sentence.textContent = told.sentence
    sentence.className = `verdict ${told.verdict}`
    advice.replaceChildren(...told.advice.map((text) => h("li", {}, text)))
    showTiles(tiles, told.members)
    const known = [...nodes.options].slice(1).map((option) => option.value)
    const there = told.members.map((member) => member.address).sort()
    if (known.join() !== there.join()) {
      nodes.replaceChildren(nodes.options[0], ...there.map((address) => h("option", {value: address}, address)))
      nodes.value = node
    }
  }

  async function showHistory() {
    const told = await page.call("GET", `/admin/history?span=${chosen}`)
    const heard = Object.entries(told.nodes).filter(([address, one]) => one.series && (!node || address === node))
    for (const {keys, together, draw} of plots) {
      const series = keys.map((key) => over(heard.map(([, one]) => one.series[key] ?? []), together))
      draw({series, untilMs: told.until_ms, stepS: told.step_s})
    }
    const silent = Object.entries(told.nodes).filter(([, one]) => one.error).map(([address, one]) => `${address}: ${one.error}`)
    unheard.textContent = silent.length ? `Without ${silent.join("; ")}` : ""
  }

  await page.every(PAUSE_MS, async () => { await Promise.all([showVerdict(), showHistory()]) })
}

function showTiles(tiles, members) {
  const heard = members.filter((member) => !member.error)
  const total = (name) => heard.reduce((all, member) => all + (member[name] ?? 0), 0)
  const shown = [
    ["members answer", `${heard.length} of ${members.filter((member) => member.registered).length}`],
    ["copies of keys", number(total("keys"))],
    ["of records and their copies", bytes(total("bytes"))],
    ["hints wait", number(total("hints"))],
  ]
  tiles.replaceChildren(...shown.map(([text, value]) => h("div", {}, h("dt", {}, text), h("dd", {}, value))))
}

/** The values of several nodes as one, step by step; null where none is known. */
function over(lists, together) {
  const length = Math.max(0, ...lists.map((list) => list.length))
  return Array.from({length}, (_, at) => {
    const known = lists.map((list) => list[at] ?? null).filter((value) => value !== null)
    return known.length ? together(known) : null
  })
}

function sum(values) { return values.reduce((all, value) => all + value, 0) }
function most(values) { return Math.max(...values) }
