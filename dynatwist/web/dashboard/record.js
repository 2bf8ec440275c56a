/** One record: what is known of it, its value to edit, and what became of it meanwhile. @module record */

import {NotFound, PreconditionFailed} from "/client/dynakv.js"
import {confirmed, flash, h} from "./dom.js"
import {editor} from "./editor.js"
import {ago, bytes, moment} from "./format.js"
import {compact} from "./json.js"
import {indented} from "./layout.js"
import {chosen} from "./meeting.js"
import {asksForLogin} from "./session.js"
import {read, remove, write} from "./store.js"

const SECOND_MS = 1000
const size = (text) => new TextEncoder().encode(text).length

/** How long until then, in the two units that matter: `4 min 12 s`. */
function countdown(ms) {
  const left_s = Math.ceil(ms / SECOND_MS), whole = Math.floor
  if (left_s >= 86400) return `${whole(left_s / 86400)} d ${whole(left_s / 3600) % 24} h`
  if (left_s >= 3600) return `${whole(left_s / 3600)} h ${whole(left_s / 60) % 60} min`
  return left_s >= 60 ? `${whole(left_s / 60)} min ${left_s % 60} s` : `${left_s} s`
}

/** Whether a text that was typed is a value as it is held, but for spaces. */
function isSame(typed, held) {
  try {
    return compact(typed) === held
  } catch {
    return false
  }
}

export class RecordView {
  #page
  #table
  #key
  #held = null
  #plain = ""
  /** The same as it was put into the editor: most often that is what is there, and need not be read. */
  #laidOut = ""
  #isReading = false
  #isStale = false
  #isSaving = false
  #onclose
  #heading = h("h2", {tabindex: -1})
  #notice = h("p", {class: "notice", role: "status", hidden: true})
  #facts = h("dl", {class: "facts"})
  #ends = h("dd")
  #ttl = h("input", {type: "number", min: 0, max: 315360000, step: 1, oninput: () => this.#settle()})
  #ttlHint = h("small")
  #fault = h("p", {class: "error", role: "alert"})
  #save = h("button", {class: "main"}, "Save")
  #revert = h("button", {type: "button", onclick: () => this.#show(this.#held)}, "Take my changes back")
  #delete = h("button", {type: "button", class: "danger", onclick: () => this.#act(() => this.#remove())}, "Delete")
  #editor

  /** @param onclose called when somebody closes it, or it was deleted here. */
  constructor(page, table, key, onclose) {
    this.#page = page
    this.#table = table
    this.#key = key
    this.#onclose = onclose
    this.#heading.append(h("bdi", {}, key))
    this.#editor = editor({label: `Value of ${key}, as JSON`, onchange: () => this.#settle()})
    const close = h("button", {type: "button", "aria-label": "Close the record", onclick: () => onclose()}, "✕")
    this.box = h("section", {class: "card record", "aria-label": `Record ${key}`},
      h("div", {class: "bar head"}, this.#heading, close), this.#notice, this.#facts,
      h("form", {onsubmit: (event) => { event.preventDefault(); this.#act(() => this.#store()) }},
        this.#editor.box,
        h("label", {class: "field"}, h("span", {}, "Time to live from now, seconds"), this.#ttl, this.#ttlHint),
        this.#fault, h("p", {class: "buttons"}, this.#delete, this.#revert, this.#save)))
    this.box.addEventListener("keydown", (event) => {
      if ((event.ctrlKey || event.metaKey) && event.key === "s") { event.preventDefault(); this.#act(() => this.#store()) }
      else if (event.key === "Escape") onclose()
    })
    const timer = setInterval(() => {
      if (this.box.isConnected) this.#count()
      else clearInterval(timer) // another record is shown, or another view
    }, SECOND_MS)
  }

  /** Whether something was typed that is not saved. */
  get isEdited() {
    if (this.#held === null) return false
    const {text} = this.#editor
    return this.#ttl.value !== "" || (text !== this.#laidOut && !isSame(text, this.#plain))
  }

  focus() { this.#heading.focus() }

  #act(work) { return this.#page.guarded(work) }

  /** Read it, and show it unless somebody edits it, who is told instead. */
  async load() {
    if (this.#isReading) { this.#isStale = true; return }
    this.#isReading = true
    try {
      do {
        this.#isStale = false
        await this.#look()
      } while (this.#isStale && !this.#page.signal.aborted)
    } finally {
      this.#isReading = false
    }
  }

  async #look() {
    try {
      const found = await read(this.#page, this.#table, this.#key)
      const isNews = this.#held !== null && found.etag !== this.#held.etag
      if (!this.isEdited) this.#show(found)
      else if (isNews) this.#tell(found, `It was changed meanwhile, and has version ${found.version} now.`)
      if (isNews) flash(this.#facts)
    } catch (error) {
      if (this.#page.signal.aborted) return
      if (asksForLogin(error)) throw error
      if (!(error instanceof NotFound)) this.#fault.textContent = error.message
      else if (this.#held === null) this.#absent("There is no such key.")
      else this.#tell(null, "It was deleted, or has ended.")
    }
  }

  /** Something happened to it. */
  change({type, reason}) {
    if (this.#isSaving) return // it is read again when it is saved
    if (type !== "Deleted") this.#page.guarded(() => this.load())
    else {
      const text = reason === "expired" ? "Its time was over: it is not there any more." : "It was deleted meanwhile."
      if (this.isEdited) this.#tell(null, text)
      else this.#absent(text)
    }
  }

  #show(found) {
    this.#hold(found)
    this.#notice.hidden = true
    this.#fault.textContent = ""
    this.#editor.area.disabled = this.#ttl.disabled = this.#delete.disabled = false
    this.#ttl.value = ""
    const clock = Object.entries(found.vector_clock)
      .map(([writer, number]) => h("div", {class: "mono"}, `${writer}: ${number}`))
    const written = `${moment(found.timestamp)} (${ago(found.timestamp)})`
    const facts = [
      ["Owner", h("bdi", {}, found.owner)], ["Version", found.version],
      ["Written", h("span", {title: new Date(found.timestamp).toISOString()}, written)],
      ["Size of the value", bytes(size(found.text))],
      ["ETag", h("span", {class: "mono"}, found.etag)], ["Clock", clock],
    ]
    this.#facts.replaceChildren(...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
      h("div", {}, h("dt", {}, "Ends"), this.#ends))
    this.#ttlHint.textContent = found.expires_at
      ? "Empty: it ends when it would have ended anyway. 0: without an end, or by the table's usual time to live."
      : "Empty: it has no end, or the table's usual one."
    this.#laidOut = indented(found.text)
    this.#editor.set(this.#laidOut)
    this.#count()
  }

  #hold(found) {
    this.#held = found
    this.#plain = compact(found.text)
    this.#laidOut = ""
  }

  /** It is not there; what was typed stays. */
  #absent(text) {
    this.#notice.replaceChildren(text)
    this.#notice.hidden = false
    this.#editor.area.disabled = this.#ttl.disabled = this.#delete.disabled = true
    this.#save.disabled = this.#revert.disabled = true
  }

  #tell(found, text) {
    this.#notice.replaceChildren(text, " ", h("button", {type: "button", onclick: () => this.#act(() => this.#meet(found))}, "Compare"))
    this.#notice.hidden = false
  }

  #count() {
    const ends = this.#held?.expires_at
    this.#ends.textContent = this.#held?.ephemeral ? "with the connection that holds it" : !ends ? "never"
      : ends > Date.now() ? `in ${countdown(ends - Date.now())}, ${moment(ends)}` : "any moment"
  }

  #settle() {
    const isEdited = this.isEdited
    this.#save.disabled = !isEdited || !this.#editor.isValid
    this.#revert.disabled = !isEdited
  }

  /** @param etag of what is to be written over; `null` where nothing is held. */
  async #store(etag = this.#held?.etag) {
    if (!this.isEdited || !this.#editor.isValid) return
    this.#fault.textContent = ""
    this.#isSaving = true
    try {
      const condition = etag === null ? {isNew: true} : {etag}, text = compact(this.#editor.text)
      this.#hold(await write(this.#page, this.#table, this.#key, text, {...condition, ttl_s: this.#ttlWanted()}))
      this.#isSaving = false
      this.#ttl.value = ""
      this.#page.say("Saved.")
      await this.load()
      flash(this.#facts)
    } catch (error) {
      this.#isSaving = false
      if (asksForLogin(error)) throw error
      if (error instanceof PreconditionFailed) await this.#meet(await this.#now())
      else this.#fault.textContent = error.message
    }
  }

  /** Seconds; `undefined` for none. A record with an end keeps that unless somebody says otherwise. */
  #ttlWanted() {
    if (this.#ttl.value !== "") return Number(this.#ttl.value) || undefined
    const ends = this.#held.expires_at
    return ends ? Math.max(1, Math.ceil((ends - Date.now()) / 1000)) : undefined
  }

  async #now() {
    try {
      return await read(this.#page, this.#table, this.#key)
    } catch (error) {
      if (error instanceof NotFound) return null
      throw error
    }
  }

  /** What is typed meets what others wrote: somebody has to choose. */
  async #meet(found) {
    const choice = await chosen({
      began: indented(this.#held.text), held: found && indented(found.text), found,
      wanted: this.#editor.isValid ? indented(this.#editor.text) : this.#editor.text})
    if (choice === "theirs" && found) this.#show(found)
    else if (choice === "theirs") { this.#held = null; this.#absent("It was deleted.") }
    else if (choice === "mine") await this.#store(found?.etag ?? null)
    else this.#editor.area.focus()
  }

  async #remove() {
    const isSure = await confirmed({title: "Delete the record", does: "Delete",
      text: ["The key ", h("code", {}, this.#key), " of ", h("q", {}, this.#table), " and its value are deleted."]})
    if (!isSure) return
    this.#fault.textContent = ""
    try {
      await remove(this.#page, this.#table, this.#key, this.#held.etag)
      this.#page.say("Deleted.")
      this.#held = null
      this.#onclose()
    } catch (error) {
      if (asksForLogin(error)) throw error
      this.#fault.textContent = error instanceof PreconditionFailed
        ? "It was changed meanwhile, and so it was not deleted. Look at it again." : error.message
      if (error instanceof PreconditionFailed) await this.load()
    }
  }
}
