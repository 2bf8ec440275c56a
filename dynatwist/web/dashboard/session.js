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
  #urls = []
  /** Whether this user is an administrator: by the password, or as a member of the group `admins`. */
  isAdmin = false

  /** Go on with what this tab has kept; answers whether there was anything. */
  resume() {
    const kept = JSON.parse(sessionStorage.getItem(KEPT_AS) ?? "null")
    if (kept === null) return false
    this.name = kept.name
    this.isAdmin = kept.isAdmin
    this.#urls = kept.urls
    this.kv = new Client(kept.urls)
    this.kv.token = kept.token
    return true
  }

  async enter(name, secret) {
    const first = await entered([location.origin], name, secret)
    const urls = [location.origin, ...(await others(first))]
    this.kv = urls.length > 1 ? await entered(urls, name, secret) : first
    this.name = name
    this.#urls = urls
    this.isAdmin = name === ADMIN
    await this.look()
  }

  /** Ask whether this user is an administrator, which changes with the group. An older release does not tell. */
  async look() {
    const {kv, name} = this, isAdmin = name === ADMIN || await isAdministrator(kv, name)
    if (kv !== this.kv) return // somebody else has logged in meanwhile
    this.isAdmin = isAdmin
    this.#keep()
  }

  #keep() {
    const kept = {name: this.name, isAdmin: this.isAdmin, urls: this.#urls, token: this.kv.token}
    sessionStorage.setItem(KEPT_AS, JSON.stringify(kept))
  }

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
    this.isAdmin = false
    sessionStorage.clear() // also what views remember of this user
  }
}

/** Whether an error says that the user has to log in again. */
export function asksForLogin(error) { return error instanceof Unauthorized }

async function isAdministrator(kv, name) {
  try {
    return (await kv.call("GET", `/auth/${encodeURIComponent(name)}`)).is_admin
  } catch (error) {
    if ([404, 405].includes(error.status)) return false
    throw error
  }
}

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
