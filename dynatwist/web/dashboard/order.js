/** The order of keys, which is that of code points; JavaScript's `<` compares halves of characters. @module order */

/** Before or behind in the order of keys, which is that of code points: below 0, 0 or above. */
export function compare(one, other) {
  const length = Math.min(one.length, other.length)
  for (let at = 0; at < length; at += 1) {
    const difference = rank(one.charCodeAt(at)) - rank(other.charCodeAt(at))
    if (difference) return difference
  }
  return one.length - other.length
}

/** Halves of characters beyond U+FFFF come behind all others. */
function rank(unit) { return unit >= 0xe000 ? unit - 0x800 : unit >= 0xd800 ? unit + 0x2000 : unit }
