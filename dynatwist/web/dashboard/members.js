/** Who is a member, how each one is, and what can be done with it. @module members */

import {confirmed, h, row, table} from "./dom.js"
import {ago, bytes, counted, moment, number, sinceOf, span} from "./format.js"
import {KINDS, strip} from "./partitions.js"
import {sparkline} from "./plot.js"

export const title = "Members"
/** Between two looks: a member that dies is seen by the others in a few seconds. */
const PAUSE_MS = 3000
const STATES = {alive: "good", suspect: "warn", dead: "bad", left: "bad", "never seen": "bad"}
/** What a row has besides address and state: heads, and what is in it. */
const COLUMNS = [
  ["Round trip", (member) => member.self ? "–" : milliseconds(member.rtt_ms)],
  ["Keys", (member, series) => figured(number(member.keys), series.keys, `keys of ${member.address}`)],
  ["Bytes", (member, series) => figured(`${bytes(member.bytes)} of ${bytes(member.memory_limit_bytes)}`, series.store_bytes, `bytes of ${member.address}`)],
  ["Hints", (member, series) => figured(number(member.hints), series.hints, `hints at ${member.address}`)],
  ["Memory", (member) => h("div", {title: "of the process"}, bytes(member.memory_bytes))],
  ["Disk free", (member) => bytes(member.disk_free_bytes)],
  ["Started", (member) => timed(member.started_ms)],
  ["Secret", (member) => member.secret === null || member.secret === undefined ? "–"
    : h("span", {class: "mono", title: `in use ${sinceOf(member)}`}, member.secret)],
]

export async function show(place, page) {
  const sentence = h("p", {class: "verdict", role: "status", "aria-live": "polite"}, "…")
  const {box, body} = table("Members of the cluster",
    ["Address", "State", ...COLUMNS.map(([head]) => head), "Partitions", "Do"])
  place.append(h("h1", {}, title), sentence, box, legend())
  if (page.parts.length) place.append(h("p", {}, h("a", {href: page.at("members")}, "All members")))
  const rows = new Map()

  async function look() {
    const [told, history] = await Promise.all([
      page.call("GET", "/admin/overview"), page.call("GET", "/admin/history?span=10m")])
    sentence.textContent = told.sentence
    sentence.className = `verdict ${told.verdict}`
    const shown = told.members.filter(({address}) => !page.parts.length || address === page.parts[0])
    for (const member of shown) {
      const series = history.nodes[member.address]?.series ?? {}
      if (!rows.has(member.address)) rows.set(member.address, madeRow(page, member.address, look))
      rows.get(member.address).draw(member, series, told.members)
    }
    for (const address of rows.keys()) {
      if (!shown.some((member) => member.address === address)) rows.delete(address)
    }
    const there = [...rows].sort(([one], [other]) => one < other ? -1 : 1).map(([, {row: node}]) => node)
    if (there.some((node, at) => body.children[at] !== node) || body.children.length !== there.length) {
      body.replaceChildren(...there)
    }
  }

  await page.every(PAUSE_MS, look)
}

/** A row that is drawn again and again; its buttons stay, and so does the focus on them. What they did is seen at once. */
function madeRow(page, address, look) {
  let member = null, everybody = []
  const act = (work) => () => page.guarded(async () => {
    await work(page, member, everybody)
    await look()
  })
  const buttons = h("td", {class: "does"},
    h("button", {onclick: act(saved), "aria-label": `Cold save of ${address}`}, "Save"), " ",
    h("button", {onclick: act(drained), "aria-label": `Drain ${address}`}, "Drain"), " ",
    h("button", {onclick: act(forgotten), "aria-label": `Forget ${address}`}, "Forget"))
  const made = h("tr")

  function draw(now, series, all) {
    member = now
    everybody = all
    const cells = row(
      h("div", {}, h("a", {href: page.at("members", [address])}, address), h("div", {class: "hint"}, aboutOf(member))),
      stateOf(member, page.parts.length > 0), ...COLUMNS.map(([, cell]) => cell(member, series)), strip(member.partitions, address))
    made.replaceChildren(...cells.children, buttons)
    const [save, drain, forget] = buttons.querySelectorAll("button")
    save.disabled = !member.reachable && !member.self
    drain.disabled = !member.registered || !(member.reachable || member.self) || everybody.length < 2
    forget.disabled = !member.registered || everybody.length < 2
  }
  return {row: made, draw}
}

function stateOf(member, isWhole) {
  const notes = [
    member.self && "this node", !member.registered && "no member", member.leaving && "leaving",
    member.registered && !member.ready && member.state === "alive" && "not ready", member.error,
    member.suspected_by?.length && `suspected by ${member.suspected_by.join(", ")}`,
    ...(member.alarms ?? []), ...(isWhole ? member.findings ?? [] : []),
  ].filter(Boolean)
  return h("div", {}, h("b", {class: STATES[member.state] ?? ""}, member.state),
    notes.map((note) => h("div", {class: "hint"}, String(note))))
}

function aboutOf({version, zone}) {
  return [version && `release ${version}`, zone && `zone ${zone}`].filter(Boolean).join(", ")
}

function figured(text, values, label) {
  return h("div", {}, text, values?.some((value) => value !== null) ? sparkline(values, `${label}, 10 minutes`) : null)
}

function milliseconds(value) {
  return value === null || value === undefined ? "–" : span(value / 1000)
}

function timed(ms) {
  return ms ? h("time", {datetime: new Date(ms).toISOString(), title: moment(ms)}, ago(ms)) : "–"
}

function legend() {
  return h("p", {class: "legend"}, "Partitions: ", Object.entries(KINDS).map(([kind, text]) =>
    h("span", {class: `partition-key ${kind}`}, text)))
}

// What can be done

async function saved(page, member) {
  await page.callAt(member.address, "POST", "/admin/save")
  page.say(`${member.address} has made a cold save.`)
}

/** It hands all that it has to the others, and is no member then. */
async function drained(page, member, everybody) {
  const away = everybody.filter((one) => one.registered && one !== member && !one.reachable && !one.self)
  if (away.length) {
    throw new Error(`${away.map((one) => one.address).join(", ")} cannot be reached, and would have to take over: `
      + "start it, or forget it first")
  }
  const text = [h("p", {}, `${member.address} hands ${counted(member.keys ?? 0, "copy", "copies")} of keys to the others, `
    + "and is no member any more. It goes on serving until they have all."), h("p", {}, staying(member, everybody)),
  h("p", {}, "To have it join again, its data folder has to be wiped.")]
  if (!await confirmed({title: `Drain ${member.address}?`, text, does: "Drain"})) return
  await page.call("POST", `/admin/members/${encodeURIComponent(member.id)}/forget`, {})
  page.say(`${member.address} is leaving; it stays in this list until the others have what it has.`)
}

/** It is struck out, whether or not it is there. */
async function forgotten(page, member, everybody) {
  const isThere = member.reachable || member.self
  const text = [h("p", {}, isThere
    ? `${member.address} is there: it hands off what it has, as if it were drained.`
    : `${member.address} is away and hands nothing off: what only it has is lost for good, and it has to be wiped `
      + "before it may join again. The others make new copies of the rest."), h("p", {}, staying(member, everybody))]
  const asked = {title: `Strike ${member.address} out?`, text, does: "Strike out", typed: isThere ? "" : member.address}
  if (!await confirmed(asked)) return
  await page.call("POST", `/admin/members/${encodeURIComponent(member.id)}/forget`, {})
  page.say(`${member.address} is being struck out.`)
}

function staying(member, everybody) {
  const left = everybody.filter((one) => one.registered && one !== member).length
  return `${counted(left, "member")} ${left === 1 ? "stays" : "stay"}.`
}
