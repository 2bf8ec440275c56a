/** Numbers and times for people. @module format */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"]

/** Bytes: `12.3 MiB`. */
export function bytes(count) {
  if (count === null || count === undefined) return "–"
  let unit = 0
  while (count >= 1024 && unit < UNITS.length - 1) { count /= 1024; unit += 1 }
  return `${number(count)} ${UNITS[unit]}`
}

/** A number with three digits that count, in groups where it is large: `0.12`, `3.4`, `1,234`. */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–"
  const digits = Math.abs(value) >= 100 || Number.isInteger(value) ? 0 : Math.abs(value) >= 10 ? 1 : 2
  return value.toLocaleString("en", {maximumFractionDigits: digits})
}

/** Seconds, with the unit that fits: `250 ms`, `12 s`, `3 min`, `5 h`, `2 d`. */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–"
  if (seconds < 1) return `${number(seconds * 1000)} ms`
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= 2 * size) return `${Math.floor(seconds / size)} ${unit}`
  }
  return `${Math.floor(seconds)} s`
}

/** A moment as people of here say it, and how long ago it was as its title. */
export function moment(ms) {
  return ms === null || ms === undefined ? "–" : new Date(ms).toLocaleString()
}

/** How long ago, or how soon: `3 min ago`, `in 12 s`. */
export function ago(ms, now = Date.now()) {
  if (ms === null || ms === undefined) return "–"
  return ms > now ? `in ${span((ms - now) / 1000)}` : `${span((now - ms) / 1000)} ago`
}

/** `1 key`, `2 keys`. */
export function counted(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`
}

/** Since when a member uses its secret. The first one of a cluster has no date: nobody noted when its file was made. */
export function sinceOf({secret_since_ms: sinceMs, started_ms: startedMs}) {
  return sinceMs ? `since ${moment(sinceMs)}` : `since before ${moment(startedMs)}, when the node started`
}

/** Text that is written from the right, and marks that turn directions around. */
const TURNS = /[\u0590-\u08ff\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufefc]/
const MARKS = /[\u202a-\u202e\u2066-\u2069]/g

/** A name as a part of a sentence, whose other words it does not turn around. */
export function within(name) {
  return TURNS.test(name) ? `\u2068${name.replace(MARKS, "\ufffd")}\u2069` : name
}
