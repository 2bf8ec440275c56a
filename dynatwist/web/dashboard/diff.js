/** What differs between two texts, line by line. @module diff */

import {h} from "./dom.js"
import {counted} from "./format.js"

/** Equal lines that are shown beside those that differ. */
const CONTEXT = 3
/** Of the table that is filled; larger texts are shown as taken away and put in as a whole. */
const MOST_CELLS = 4_000_000

/** Lines of both texts: `{sign, line}`, where the sign is `-` (only before), `+` (only after) or a space. */
export function differences(before, after) {
  const old = before.split("\n"), fresh = after.split("\n")
  let head = 0, tail = 0
  while (head < Math.min(old.length, fresh.length) && old[head] === fresh[head]) head += 1
  while (tail < Math.min(old.length, fresh.length) - head && old.at(-1 - tail) === fresh.at(-1 - tail)) tail += 1
  const same = (lines) => lines.map((line) => ({sign: " ", line}))
  return [
    ...same(old.slice(0, head)),
    ...between(old.slice(head, old.length - tail), fresh.slice(head, fresh.length - tail)),
    ...same(old.slice(old.length - tail)),
  ]
}

/** By the longest common subsequence. */
function between(old, fresh) {
  const wide = fresh.length + 1
  if ((old.length + 1) * wide > MOST_CELLS) return [...signed("-", old), ...signed("+", fresh)]
  const common = new Uint32Array((old.length + 1) * wide)
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = fresh.length - 1; j >= 0; j -= 1) {
      common[i * wide + j] = old[i] === fresh[j] ? common[(i + 1) * wide + j + 1] + 1
        : Math.max(common[(i + 1) * wide + j], common[i * wide + j + 1])
    }
  }
  const found = []
  let i = 0, j = 0
  while (i < old.length && j < fresh.length) {
    if (old[i] === fresh[j]) { found.push({sign: " ", line: old[i]}); i += 1; j += 1 }
    else if (common[(i + 1) * wide + j] >= common[i * wide + j + 1]) { found.push({sign: "-", line: old[i]}); i += 1 }
    else { found.push({sign: "+", line: fresh[j]}); j += 1 }
  }
  return [...found, ...signed("-", old.slice(i)), ...signed("+", fresh.slice(j))]
}

function signed(sign, lines) { return lines.map((line) => ({sign, line})) }

const TAGS = {"-": "del", "+": "ins", " ": "span", "…": "span"}

/** Both texts as one, with what was taken away and what was put in; `title` says which they are. */
export function shownDifference(title, before, after) {
  const lines = differences(before, after)
  const isSame = lines.every(({sign}) => sign === " ")
  return h("section", {class: "diff", "aria-label": title}, h("h3", {}, title),
    isSame ? h("p", {class: "hint"}, "No difference.") : null,
    h("pre", {tabindex: 0}, shortened(lines).map(({sign, line}) => h(TAGS[sign], {}, `${sign} ${line}\n`))))
}

/** Without equal lines that are far from all that differs; a line says how many they are. */
export function shortened(lines) {
  const isNear = new Uint8Array(lines.length)
  lines.forEach(({sign}, at) => {
    if (sign !== " ") isNear.fill(1, Math.max(0, at - CONTEXT), at + CONTEXT + 1)
  })
  const found = []
  for (let at = 0; at < lines.length; at += 1) {
    const begun = at
    while (at < lines.length && !isNear[at]) at += 1
    if (at > begun) found.push({sign: "…", line: counted(at - begun, "equal line")})
    if (at < lines.length) found.push(lines[at])
  }
  return found
}
