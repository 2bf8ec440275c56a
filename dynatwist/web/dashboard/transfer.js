/**
 * Records as lines of JSON, as `dynakv export` writes them and `dynakv import --from jsonl` reads them.
 *
 * @module transfer
 */

import {batch} from "./batch.js"
import {field, h, shown} from "./dom.js"
import {counted, number} from "./format.js"
import {compact, members} from "./json.js"
import {worked} from "./progress.js"
import {names, readMany} from "./store.js"

const FORMAT = "dynakv-export", VERSION = 1
/** Keys that are listed together, and the records that are fetched together: as many as fit such an answer. */
const LISTED = 500, MOST_AT_ONCE = 100, PAGE_CHARS = 1 << 20
/** Lines of one batch, and their characters: a body that nodes take, with room to spare. */
const BATCH_LINES = 500, BATCH_CHARS = 1 << 20

// Out

/**
 * Save records as a file.
 *
 * @param keys which ones; all under the prefix when it is `null`.
 */
export async function exported(page, {table, prefix, keys = null}) {
  await worked("Export", async (progress) => {
    const at = new Date().toISOString().replace(/\.\d+Z$/, "Z")
    const head = {format: FORMAT, version: VERSION, at, tables: [table], ...(prefix ? {prefix} : {})}
    const parts = [`${JSON.stringify(head)}\n`]
    let total = 0
    for await (const lines of pages(page, table, keys === null ? listed(page, table, prefix) : [keys])) {
      if (progress.isStopped) return "Stopped. No file was saved."
      parts.push(new Blob(lines)) // which the browser keeps on its disk when there are many
      total += lines.length
      progress.tell(`${counted(total, "record")} so far`, keys === null ? undefined : total / keys.length)
    }
    parts.push(`${JSON.stringify({end: FORMAT, total, records: {[table]: total}})}\n`)
    save(new Blob(parts, {type: "application/jsonl"}), `${table.replace(/[^\w.-]+/g, "_")}.jsonl`)
    return `${counted(total, "record")} exported.`
  })
}

async function* listed(page, table, prefix) {
  let after = ""
  for (;;) {
    const keys = await names(page, table, {prefix, after, limit: LISTED, isLong: true})
    if (keys.length) yield keys
    if (keys.length < LISTED) return
    after = keys.at(-1)
  }
}

/** Lines of records: ever more at once while they are small, so that few of the largest come together. */
async function* pages(page, table, lists) {
  let most = 4
  for await (const keys of lists) {
    for (let at = 0; at < keys.length;) {
      const some = keys.slice(at, at + most), held = await readMany(page, table, some)
      const lines = some.filter((key) => held.has(key) && !held.get(key).ephemeral)
        .map((key) => lineOf(table, key, held.get(key)))
      const size = lines.reduce((all, line) => all + line.length, 0)
      at += some.length
      most = Math.max(1, Math.min(2 * most, Math.floor(PAGE_CHARS / Math.max(1, size / some.length)), MOST_AT_ONCE))
      yield lines
    }
  }
}

function lineOf(table, key, {text, owner = "", version, timestamp, expires_at}) {
  const rest = {...(owner ? {owner} : {}), version, timestamp, ...(expires_at ? {expires_at} : {})}
  const place = JSON.stringify({table, key}).slice(0, -1)
  return `${place},"value":${text},${JSON.stringify(rest).slice(1)}\n`
}

function save(blob, name) {
  const url = URL.createObjectURL(blob)
  h("a", {href: url, download: name}).click()
  setTimeout(() => URL.revokeObjectURL(url), 60_000) // the browser has begun to save it by then
}

// In

/** Ask for a file, and write its records into a table; answers whether anything may have been written. */
export async function imported(page, table) {
  const file = h("input", {type: "file", required: true, accept: ".jsonl,.ndjson,.json,.txt"})
  const overwrites = h("input", {type: "checkbox"})
  const dialog = h("dialog", {"aria-labelledby": "import-title"}, h("form", {method: "dialog"},
    h("h2", {id: "import-title"}, `Import into ${table}`),
    field("File", file, "Lines of JSON, as an export here or by dynakv writes them, or {\"key\": …, \"value\": {…}}. "
      + "Everything goes into this table, and is yours."),
    h("label", {class: "check"}, overwrites, " Write over keys that are there; otherwise they stay as they are"),
    h("p", {class: "buttons"}, h("button", {value: "no", formnovalidate: true}, "Cancel"),
      h("button", {value: "yes", class: "main"}, "Import"))))
  if (await shown(dialog) !== "yes" || !file.files.length) return false
  await worked("Import", (progress) => new Import(page, table, overwrites.checked, progress).read(file.files[0]))
  return true
}

/** One import under way, and what came of its lines. */
class Import {
  #page
  #table
  #overwrites
  #progress
  #counts = {written: 0, left: 0, refused: 0}
  #ops = []
  #chars = 0
  #line = 0
  #records = 0
  #foot = null
  #hasHead = false

  constructor(page, table, overwrites, progress) {
    this.#page = page
    this.#table = table
    this.#overwrites = overwrites
    this.#progress = progress
  }

  async read(file) {
    let seen = 0
    for await (const line of linesOf(file)) {
      if (this.#progress.isStopped) return `Stopped: ${this.#told()}.`
      seen += line.length + 1
      this.#take(line)
      if (this.#ops.length >= BATCH_LINES || this.#chars >= BATCH_CHARS) {
        await this.#send()
        this.#progress.tell(this.#told(), Math.min(1, seen / file.size))
      }
    }
    await this.#send()
    if (this.#hasHead && this.#foot !== this.#records) {
      this.#progress.fault(this.#foot === null ? "The file is cut: its last line is missing."
        : `The file is damaged: it has ${this.#records} records, and ${this.#foot} by its last line.`)
    }
    return `${this.#told()}.`
  }

  #told() {
    const {written, left, refused} = this.#counts
    return `${number(written)} written, ${number(left)} left as they are, ${number(refused)} refused`
  }

  #take(line) {
    this.#line += 1
    if (!line.trim()) return
    try {
      const told = members(line)
      if (told.has("key")) this.#add(told)
      else if (told.has("format")) this.#begin(JSON.parse(line))
      else if (told.has("end")) this.#foot = JSON.parse(told.get("total") ?? "null")
      else throw new Error("it has no \"key\"")
    } catch (error) {
      this.#refuse(`Line ${this.#line}: ${error.message.replace(/^line 1, /, "")}`)
    }
  }

  #begin({format, version}) {
    const isKnown = format === FORMAT && version === VERSION
    if (!isKnown) throw new Error(`the format ${format}, version ${version}, is not known here`)
    this.#hasHead = true
  }

  #add(told) {
    this.#records += 1
    const key = JSON.parse(told.get("key")), value = told.get("value")
    const ends = JSON.parse(told.get("expires_at") ?? "null")
    if (typeof key !== "string") throw new Error("its \"key\" is no text")
    if (value === undefined) throw new Error("it has no \"value\"")
    const ttl_s = ends === null ? null : Math.ceil((ends - Date.now()) / 1000)
    if (ttl_s !== null && !(ttl_s > 0)) { this.#counts.left += 1; return } // it has ended
    const text = value.startsWith("{") ? compact(value) : `{"value":${compact(value)}}`
    this.#ops.push({op: "put", key, text, ttl_s, isNew: !this.#overwrites, line: this.#line})
    this.#chars += text.length
  }

  async #send() {
    const ops = this.#ops
    this.#ops = []
    this.#chars = 0
    if (!ops.length) return
    const outcomes = await batch(this.#page, this.#table, ops)
    outcomes.forEach(({status, error}, at) => {
      if (status < 400) this.#counts.written += 1
      else if (status === 412 && ops[at].isNew) this.#counts.left += 1
      else this.#refuse(`Line ${ops[at].line}, ${ops[at].key}: ${error}`)
    })
  }

  #refuse(text) {
    this.#counts.refused += 1
    this.#progress.fault(text)
  }
}

async function* linesOf(file) {
  const reader = file.stream().pipeThrough(new TextDecoderStream("utf-8", {fatal: true})).getReader()
  let rest = ""
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    const lines = (rest + piece.value).split("\n")
    rest = lines.pop()
    yield* lines
  }
  if (rest) yield rest
}
