/**
 * Who uses this page, and the nodes that it asks: its own first, the other members when that one is gone.
 *
 * The token lives in this tab only: a page that is closed is logged out.
 *
 * @module session
 */

import {Client, Forbidden, Unauthorized} from "/client/dynakv.js"

const KEPT_AS = "dynakv"
/** What the administrator is called where a user's name is asked for; `dynakv login admin` does the same. */
export const ADMIN = "admin"

export class Session {
  /** The client; `null` while nobody is logged in. */
  kv = null
  name = ""

  /** Go on with what this tab has kept; answers whether there was anything. */
  resume() {
    const kept = JSON.parse(sessionStorage.getItem(KEPT_AS) ?? "null")
    if (kept === null) return false
    this.name = kept.name
    this.kv = new Client(kept.urls)
    this.kv.token = kept.token
    return true
  }

  async enter(name, secret) {
    const first = await entered([location.origin], name, secret)
    const urls = [location.origin, ...(await others(first))]
    this.kv = urls.length > 1 ? await entered(urls, name, secret) : first
    this.name = name
    sessionStorage.setItem(KEPT_AS, JSON.stringify({name, urls, token: this.kv.token}))
  }

  get isAdmin() { return this.name === ADMIN }

  /** The node that it asks now, as HOST:PORT. */
  get node() { return this.kv.urls[0].replace(/^https?:\/\//, "") }

  /** Whether that is not the node from which the page came. */
  get isElsewhere() { return this.kv.urls[0] !== location.origin }

  /** A client for one member only. */
  at(address) {
    const kv = new Client([`${location.protocol}//${address}`])
    kv.token = this.kv.token
    return kv
  }

  leave() {
    this.kv = null
    this.name = ""
    sessionStorage.clear() // also what views remember of this user
  }
}

/** Whether an error says that the user has to log in again. */
export function asksForLogin(error) { return error instanceof Unauthorized }

/** A client that renews its token by what was typed, as long as the page is open. */
async function entered(urls, name, secret) {
  const kv = new Client(urls)
  if (name === ADMIN) await kv.loginAdmin(secret)
  else await kv.login(name, secret, {registers: false})
  return kv
}

/** The other members' addresses. A page that came by another name than its node's goes on at none of them. */
async function others(kv) {
  try {
    const {nodes} = await kv.members()
    return Object.entries(nodes).filter(([, node]) => !node.self && node.registered)
      .map(([address]) => `${location.protocol}//${address}`)
  } catch (error) {
    if (error instanceof Forbidden || error instanceof Unauthorized) return [] // --private-status
    throw error
  }
}
