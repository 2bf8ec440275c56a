/**
 * JSON for people: a member a line, but lists and objects that fit one line in one, so that much is seen at once.
 *
 * @module layout
 */

import {tokensOf} from "./json.js"

/** Characters of a line, where it can be broken: as many as one reads, and as fit beside the keys. */
export const WIDTH = 80
const OPENERS = "{[", CLOSERS = "}]"
const SPACED = {",": ", ", ":": ": "}

/** The same value, laid out. */
export function indented(text) {
  const layout = new Layout(tokensOf(text))
  return layout.text()
}

class Layout {
  #tokens
  #ends
  #widths
  #pieces = []
  #column = 0
  /** Of lists and objects that are open, and not in one line: their beginnings. */
  #open = []

  constructor(tokens) {
    this.#tokens = tokens
    this.#ends = new Int32Array(tokens.length)
    /** In one line, how many characters come before each token. */
    this.#widths = new Int32Array(tokens.length + 1)
    const begun = []
    tokens.forEach(({token}, at) => {
      this.#widths[at + 1] = this.#widths[at] + (SPACED[token] ?? token).length
      if (OPENERS.includes(token)) begun.push(at)
      else if (CLOSERS.includes(token)) this.#ends[begun.pop()] = at
    })
  }

  text() {
    for (let at = 0; at < this.#tokens.length; at += 1) {
      const {token, depth} = this.#tokens[at]
      if (OPENERS.includes(token) && this.#isShort(at)) at = this.#putLine(at)
      else if (OPENERS.includes(token)) { this.#open.push(token); this.#put(token); this.#break(depth + 1) }
      else if (CLOSERS.includes(token)) { this.#open.pop(); this.#break(depth); this.#put(token) }
      else if (token === ",") this.#putComma(at)
      else this.#put(SPACED[token] ?? token)
    }
    return this.#pieces.join("")
  }

  /** Whether a list or an object has nothing in it, or fits the line; the outermost is always opened. */
  #isShort(at) {
    const end = this.#ends[at], width = this.#widths[end + 1] - this.#widths[at]
    return end === at + 1 || (at > 0 && this.#column + width < WIDTH)
  }

  /** @returns where it ends. */
  #putLine(at) {
    const end = this.#ends[at]
    for (let one = at; one <= end; one += 1) this.#put(SPACED[this.#tokens[one].token] ?? this.#tokens[one].token)
    return end
  }

  /** Numbers and short texts of a list stand beside each other. */
  #putComma(at) {
    const before = this.#tokens[at - 1].token, next = this.#tokens[at + 1].token
    const isPlain = this.#open.at(-1) === "[" && !CLOSERS.includes(before) && !OPENERS.includes(next)
    this.#put(",")
    if (isPlain && this.#column + 1 + next.length < WIDTH) this.#put(" ")
    else this.#break(this.#tokens[at].depth + 1)
  }

  #put(text) {
    this.#pieces.push(text)
    this.#column += text.length
  }

  #break(depth) {
    this.#pieces.push("\n", "  ".repeat(depth))
    this.#column = 2 * depth
  }
}
