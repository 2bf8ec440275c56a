/** The last changes that were heard, and how many come; apart from what shows them. @module tail */

/** Rows that are kept: as many as one scrolls through. */
export const MOST_ROWS = 1000
/** Characters of a value that are kept: they are searched, and their beginning is shown. */
const MOST_CHARS = 2000
/** Seconds of which is known how many changes came. */
const SECONDS = 60

export class Tail {
  #rows = []
  #fresh = []
  #waiting = []
  #filter = ""
  #now = 0
  /** Changes a second, of the last minute, the last second at the end. */
  rates = new Array(SECONDS).fill(0)
  /** Of changes: all that were heard. */
  count = 0
  /** Of those, how many came since the pause began. */
  missed = 0
  isPaused = false

  /** Something was heard. */
  add(change) {
    const one = rowOf(change)
    if (one.key !== undefined) { this.count += 1; this.#now += 1 }
    if (this.isPaused && one.key !== undefined) this.missed += 1
    bounded(this.isPaused ? this.#waiting : this.#fresh, one)
  }

  /** What came since the last call, and passes the filter: the oldest first. */
  take() {
    const fresh = this.#fresh
    this.#fresh = []
    this.#rows = [...this.#rows, ...fresh].slice(-MOST_ROWS)
    return fresh.filter((one) => this.#passes(one))
  }

  /** All that is kept and passes the filter: the oldest first. */
  get rows() { return this.#rows.filter((one) => this.#passes(one)) }

  choose(text) { this.#filter = text.toLowerCase() }

  clear() {
    this.#rows = []
    this.#fresh = []
    this.#waiting = []
    this.missed = 0
  }

  /** Keep what comes out of sight, or show it again. */
  pause(isPaused) {
    this.isPaused = isPaused
    if (isPaused) return
    this.#fresh.push(...this.#waiting)
    this.#waiting = []
    this.missed = 0
  }

  /** A second is over. */
  tick() {
    this.rates = [...this.rates.slice(1), this.#now]
    this.#now = 0
  }

  #passes({text}) { return text.includes(this.#filter) }
}

function bounded(rows, one) {
  rows.push(one)
  if (rows.length >= 2 * MOST_ROWS) rows.splice(0, MOST_ROWS)
}

/** A change as it is kept: `{at_ms, table, key, what, value, owner, text}`; `{notice}` where something was missed. */
function rowOf({type, table, key, record, reason}) {
  if (type === "lagged") return {notice: "Changes were missed here: more came than this page could read.", text: ""}
  if (type === "reset") return {notice: "Changes may be missing here: nobody remembers them any more.", text: ""}
  const value = record === null ? "" : JSON.stringify(record.value).slice(0, MOST_CHARS), owner = record?.owner ?? ""
  const ended = reason === "expired" ? "Ended by itself" : "Deleted"
  const what = type === "Updated" ? `Written, version ${record.version}` : ended
  return {at_ms: record?.timestamp ?? Date.now(), table, key, what, value, owner,
    text: [table, key, what, value, owner].join("\n").toLowerCase()}
}
