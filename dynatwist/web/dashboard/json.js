/**
 * JSON as text: numbers keep their digits and members their order, which `JSON.parse` would not do.
 *
 * @module json
 */

const SPACE = /[ \t\n\r]*/y
const STRING = /"[^"\\\u0000-\u001f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\u0000-\u001f]*)*"/y
const OTHER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y
/** Nodes take less (64, unless they are told otherwise): deeper text would only overflow the stack here. */
const DEPTH = 500

/** What is wrong with a text, and where: `line` and `column` begin with 1. */
export class JsonError extends Error {
  constructor(text, at, why) {
    const lines = text.slice(0, at).split("\n")
    super(`line ${lines.length}, column ${lines.at(-1).length + 1}: ${why}`)
    this.line = lines.length
    this.column = lines.at(-1).length + 1
    this.at = at
  }
}

/** Reads a text once from left to right, and tells `emit` each token and how deep in lists and objects it is. */
class Reader {
  constructor(text, emit = () => {}) {
    this.text = text
    this.at = 0
    this.emit = emit
  }

  whole() {
    this.value(0)
    if (this.next() !== "") this.fail("there is more behind the end of the value")
  }

  next() {
    SPACE.lastIndex = this.at
    SPACE.exec(this.text)
    this.at = SPACE.lastIndex
    return this.text[this.at] ?? ""
  }

  fail(why) { throw new JsonError(this.text, this.at, why) }

  take(pattern, depth) {
    pattern.lastIndex = this.at
    const found = pattern.exec(this.text)
    if (found === null) return null
    this.at = pattern.lastIndex
    this.emit(found[0], depth)
    return found[0]
  }

  mark(sign, depth) {
    this.at += 1
    this.emit(sign, depth)
  }

  value(depth) {
    const sign = this.next()
    if (depth > DEPTH) this.fail("this is nested too deeply")
    if (sign === "{") this.list(depth, "}", (inner) => this.member(inner))
    else if (sign === "[") this.list(depth, "]", (inner) => this.value(inner))
    else if (sign === "\"") this.string(depth)
    else if (sign === "") this.fail("a value is missing")
    else if (this.take(OTHER, depth) === null) this.fail("this is no JSON value; texts and names stand in \"quotes\"")
  }

  list(depth, end, item) {
    this.mark(this.text[this.at], depth)
    if (this.next() === end) return this.mark(end, depth)
    for (;;) {
      item(depth + 1)
      const sign = this.next()
      if (sign === end) return this.mark(end, depth)
      if (sign !== ",") this.fail(`a comma or ${end} is missing`)
      this.mark(",", depth)
    }
  }

  /** @returns the name, and where its value begins and ends. */
  member(depth) {
    if (this.next() !== "\"") this.fail("a name in \"quotes\" is missing")
    const name = this.string(depth)
    if (this.next() !== ":") this.fail("a colon is missing behind the name")
    this.mark(":", depth)
    this.next()
    const from = this.at
    this.value(depth)
    return {name, from, to: this.at}
  }

  string(depth) {
    return this.take(STRING, depth) ?? this.fail("this text does not end, or has a line break or a wrong \\ in it")
  }
}

/** Whether a text is JSON; throws a `JsonError` where it is not. */
export function checkJson(text) { new Reader(text).whole() }

/** Whether a text is a JSON object; throws a `JsonError` where it is not. */
export function checkObject(text) {
  const reader = new Reader(text)
  if (reader.next() !== "{") reader.fail("a value is an object: {\"name\": ...}")
  reader.whole()
}

/** The members of an object as `Map`: name to the text of the value. The last of one name counts. */
export function members(text) {
  const found = new Map(), reader = new Reader(text)
  if (reader.next() !== "{") reader.fail("this is no object")
  reader.list(0, "}", (depth) => {
    const {name, from, to} = reader.member(depth)
    found.set(JSON.parse(name), text.slice(from, to))
  })
  if (reader.next() !== "") reader.fail("there is more behind the end of the object")
  return found
}

/** The same value without spaces, as it is sent. */
export function compact(text) {
  const found = []
  new Reader(text, (token) => found.push(token)).whole()
  return found.join("")
}

/** All that a text is made of but spaces: `{token, depth}`, in how many lists and objects. */
export function tokensOf(text) {
  const found = []
  new Reader(text, (token, depth) => found.push({token, depth})).whole()
  return found
}
