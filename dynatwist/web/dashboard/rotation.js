/**
 * The cluster's secret is replaced in three steps, each of which all members take: install, use, retire.
 *
 * How far that has come is seen from what the members accept, so it goes on after the page was loaded anew, or at another
 * node. Which secret is to stay in the end the page's URL remembers, `?to=NAME`; without it people are asked.
 *
 * @module rotation
 */

import {confirmed, h, row, table} from "./dom.js"
import {sinceOf} from "./format.js"
import {redraw} from "./listed.js"
import {hindrance, progress, sentence} from "./replacement.js"
import {button, ifTold, tell} from "./telling.js"

/** Between two looks at what each member accepts. */
const PAUSE_MS = 3000
/** A node waits 8 s for a member that is silent, and answers then. */
const LOOK_TIMEOUT_MS = 12000
/** A step asks all members twice, and is agreed on within 3 s before: a node has answered by then. */
const STEP_TIMEOUT_MS = 30000

export async function show(place, page) {
  const {box, body} = table("Secrets of the members", ["Member", "Uses", "It does so", "Accepts besides"])
  const state = h("p", {class: "verdict", role: "status", id: "rotation"}, "…")
  const why = h("p", {class: "warn", role: "status", id: "why-not"})
  const choices = h("div", {class: "bar"})
  const endTokens = h("input", {type: "checkbox", id: "end-tokens"})
  let to = page.query.get("to"), seen = null, taking = false

  const steps = {
    install: step("Install a new secret", "All members accept it from then on, beside the one that they use. Nothing "
      + "uses it yet.",
      async () => {
        const {key} = await take("install", {})
        remember(key)
      }),
    use: step("Use it", "All members use it for links, gossip and tokens. They still accept the former one, so nobody "
      + "is cut off and users stay logged in.",
      () => take("use", {key: to})),
    retire: step("Retire all others", "Members accept no other secret. Connections between nodes that a former one "
      + "has authenticated are replaced within a second.",
      retire, h("label", {}, endTokens, " Log everybody out: refuse tokens that former secrets have signed. Do so "
        + "when a secret has leaked.")),
  }

  function step(name, text, work, more = null) {
    const go = button(page, name, () => taken(work))
    const mark = h("span", {class: "mark"})
    return {go, mark, item: h("li", {}, h("h3", {}, name, " ", mark), h("p", {}, text), more, go)}
  }

  /** Take a step; what came of it is seen from the members, whether it was refused or not. */
  async function taken(work) {
    if (taking) return
    taking = true
    try {
      await work()
    } finally {
      taking = false
      if (!page.signal.aborted && page.kv !== null) await look()
    }
    if (seen !== null) steps[seen.next]?.go.focus()
  }

  function take(name, body) {
    state.textContent = "All members are being asked …"
    return page.call("POST", `/admin/keys/${name}`, body, {repeatable: name !== "install", timeoutMs: STEP_TIMEOUT_MS})
  }

  function remember(name) {
    to = name
    page.note({to})
  }

  async function retire() {
    const out = endTokens.checked
    const text = [
      h("p", {}, out ? "All users have to log in again, everywhere, at once, and so does the administrator."
        : "Users stay logged in. The administrator has to log in again where a former secret has signed the token."),
      h("p", {}, `The administrator's password is that of ${to}, unless it is configured: `,
        h("code", {}, "dynakv admin-password"), " prints it."),
      h("p", {}, "A machine that is to join later needs the key file as it is then.")]
    if (!await confirmed({title: "Retire all former secrets?", text, does: "Retire them"})) return
    await take("retire", {keep_tokens: !out})
  }

  async function all() {
    const text = [h("p", {}, "A new secret is installed, used, and all others are retired; each step on all members."),
      h("p", {}, "Users stay logged in. The administrator has to log in again, with another password unless it is "
        + "configured: ",
        h("code", {}, "dynakv admin-password"), " prints it. Machines that join later need the new key file.")]
    if (!await confirmed({title: "Replace the cluster's secret?", text, does: "Replace it"})) return
    await taken(async () => {
      const {key} = await take("install", {})
      remember(key)
      await take("use", {key})
      await take("retire", {keep_tokens: true})
    })
  }

  const atOnce = button(page, "All three at once", all)

  async function look() {
    const [{nodes}, registry, overview] = await Promise.all([
      page.call("GET", "/admin/keys", undefined, {timeoutMs: LOOK_TIMEOUT_MS}), page.call("GET", "/admin/members"),
      ifTold(page.call("GET", "/admin/overview"))])
    const since = new Map(overview?.members.filter((one) => one.secret).map((one) => [one.address, sinceOf(one)]))
    const rows = Object.entries(nodes).sort().map(([address, names]) => [address, names, since.get(address)])
    redraw(body, rows, ([address]) => address, ([address, names, used]) => (names === null
      ? row(address, h("span", {class: "bad"}, "does not answer"), "", "")
      : row(address, h("code", {}, names[0]), used ?? "–", h("code", {}, names.slice(1).join(", ") || "none"))))
    if (taking) return
    seen = progress(nodes, to)
    if (to !== null && seen.next === "choose") remember(null)
    draw(seen, hindrance(seen, registry))
  }

  function draw(found, hinders) {
    tell(state, sentence(found, to))
    tell(why, hinders)
    const order = Object.keys(steps), at = order.indexOf(found.next)
    order.forEach((name, number) => {
      const isNext = name === found.next
      steps[name].mark.textContent = isNext ? "– next" : number < at ? "– done" : ""
      steps[name].item.setAttribute("aria-current", isNext ? "step" : "false")
      steps[name].go.ariaDisabled = String(!isNext || hinders !== "")
      steps[name].go.classList.toggle("main", isNext)
    })
    atOnce.ariaDisabled = String(found.next !== "install" || hinders !== "")
    const offered = found.next === "choose" ? [...new Set([...found.uses, ...found.others])] : []
    redraw(choices, offered, (name) => name, (name) => h("button", {type: "button", onclick: () => {
      remember(name)
      page.guarded(async () => {
        await look()
        steps[seen.next].go.focus()
      })
    }}, found.uses.includes(name) ? `Keep ${name}, which is in use, and retire the others` : `Go on to ${name}`))
  }

  place.append(h("h2", {id: "of-cluster"}, "The cluster's secret"),
    h("p", {class: "hint"}, "Links between nodes, gossip and tokens go by it. Nobody is shown the secret itself, only "
      + "the name that is made of it."),
    state, why, box, choices, h("ol", {class: "steps"}, Object.values(steps).map((one) => one.item)),
    h("p", {}, atOnce))
  await page.every(PAUSE_MS, look)
}
