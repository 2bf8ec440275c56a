/** The storage secret of each node, which seals its data folder. @module storage */

import {Client} from "/client/dynakv.js"
import {confirmed, h, row, table} from "./dom.js"
import {redraw} from "./listed.js"
import {acts, button} from "./telling.js"

/** Between two looks: sealing a folder anew takes seconds to minutes. */
const PAUSE_MS = 5000
const PATH = "/admin/storage-key"

export async function show(place, page) {
  const {box, body} = table("Storage secrets of the nodes",
    ["Node", "Uses", "To be erased", "Files sealed by the newest key", "By older ones", acts()])
  place.append(h("h2", {id: "of-nodes"}, "Storage secrets"),
    h("p", {class: "hint"}, "Each node has its own, which seals its data folder, and each is asked by itself. The "
      + "cluster's secret has nothing to do with it."), box)

  const heard = new Map()

  async function look() {
    const {nodes} = await page.kv.members({signal: page.signal})
    const addresses = Object.keys(nodes).filter((address) => nodes[address].registered).sort()
    const draw = () => redraw(body, addresses.map((address) => ({address, ...heard.get(address)})),
      (one) => one.address, (one) => rowOf(page, one, look))
    draw()
    await Promise.all(addresses.map(async (address) => {
      heard.set(address, await asked(page, address)) // as it comes: a node that is frozen is waited for
      draw()
    }))
  }

  await page.every(PAUSE_MS, look)
}

/** A client of that node alone. */
function alone(page, address) {
  const client = new Client(`${location.protocol}//${address}`)
  client.token = page.kv.token
  return client
}

async function asked(page, address) {
  try {
    return {told: await alone(page, address).call("GET", PATH, undefined, {signal: page.signal})}
  } catch (error) {
    if (page.signal.aborted) throw error
    return {problem: error.message}
  }
}

function rowOf(page, {address, told, problem}, look) {
  if (told === undefined) {
    return row(address, problem ? h("span", {class: "bad"}, problem) : "is being asked", "", "", "", "")
  }
  const [newest] = told.data_keys
  const older = Object.entries(told.files).filter(([key]) => key !== newest).map(([, files]) => counts(files))
  const work = async () => {
    const text = [
      h("p", {}, `${address} makes another storage secret and seals its data folder anew while it serves. That costs `
        + `what a cold save of everything costs, and as much room on the disk again until it is done.`),
      h("p", {}, "A copy of the data folder from before cannot be opened by the key file of after: keep with each "
        + "backup the key file of its time.")]
    if (!await confirmed({title: `Replace the storage secret of ${address}?`, text, does: "Replace it"})) return
    await alone(page, address).call("POST", PATH, {}, {signal: page.signal})
    page.say(`${address} seals its data folder anew.`)
    await look()
  }
  return row(address, h("code", {}, told.uses), told.to_erase.join(", ") || "none", counts(told.files[newest]),
    older.join("; ") || "none", told.under_way ? "is being sealed anew"
      : button(page, "Replace", work, {"aria-label": `Replace that of ${address}`}))
}

function counts(files) {
  return files ? Object.entries(files).map(([sort, count]) => `${count} ${sort}`).join(", ") : "nothing yet"
}
