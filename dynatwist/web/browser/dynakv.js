/**
 * A cluster of DynaTwist nodes, as one user of it, in a page.
 *
 *     import {Client} from "http://127.0.0.1:6661/client/dynakv.js"
 *     const kv = await Client.connect(["http://127.0.0.1:6661", "http://127.0.0.1:6662"])
 *     await kv.login("alice", "a long secret")
 *     await kv.put("users", "profile", {level: 42})
 *     for await (const change of kv.watch("users", {prefix: "pro"})) console.log(change.type, change.key)
 *
 * What one node does not answer is asked of the next. Each write has a name (Idempotency-Key), by which nodes know it
 * again: it is made once, however often it is sent. When a token has ended, the client logs in again by itself, once for
 * all requests that wait. A page of another origin than the node's needs `--cors-origin` there.
 */

const REQUEST_MS = 5000      // a node answers everything within two seconds, but for what is large
const DEADLINE_MS = 30000    // of a request with all its tries
const ROUNDS = 3             // one node may be frozen and the next just starting, and both are there a moment later
const PAUSE_MS = 200         // between two rounds, at most, the first time; twice as long the next
const FIRST_MS = 100         // before another node is tried for a watch, at most, the first time
const LONGEST_MS = 2000      // a listener misses no more than this after its cluster is back
const OPEN_MS = 5000         // for a node to begin, or the next one is tried
const PING_MS = 4000         // between two pings; a node that answers none for twice as long is left for the next one
const SILENT_MS = 20000      // a node says something on a stream every 15 s; then the next one is tried
const BOOKMARK_MS = 15000    // a watch that hears nothing asks so often where it is: old cursors are worth less
const QUEUE = 10000          // changes that wait for a slow reader; then it is told to read afresh
const UPDATE_MS = 10000      // so long others may be quicker
const PAGE = 500             // keys that are read together when a whole table is
const NO_SOCKETS = 2         // rounds in which no node opened a websocket though it may be up: streams are tried then

/** Refusals that hold of the tries before as well; see `request`. */
const TELLS = new Set([400, 404, 405, 409, 412, 413, 415, 422])
/** What no other node would answer otherwise. After anything else the next one is asked. */
const REFUSALS = new Set(["no_token", "bad_token", "forbidden", "another_user", "malformed", "bad_table", "bad_key",
  "bad_prefix", "reserved_table", "system_table", "not_an_object", "unknown_op"])
const NEVER_PUT = new Set([...REFUSALS, "bad_ephemeral", "bad_ttl", "too_large", "too_deep", "malformed_json"])

/** An error object from a node. `status` is 0 when no node answered. */
export class KvError extends Error {
  constructor(status, code, text) {
    super(text)
    this.name = new.target.name
    this.status = status
    this.code = code
  }
}
/** 401: no token, or none that counts. */
export class Unauthorized extends KvError {}
/** 403: not yours. */
export class Forbidden extends KvError {}
/** 404. */
export class NotFound extends KvError {}
/** 412: `ifMatch` or `ifNoneMatch` did not hold; `held` is what is there instead, where the node said it. */
export class PreconditionFailed extends KvError {}
/** 503, or no node answers. After a write whose code is `uncertain` nobody knows whether it was made. */
export class Unavailable extends KvError {}

const KINDS = {401: Unauthorized, 403: Forbidden, 404: NotFound, 412: PreconditionFailed, 503: Unavailable}

function errorOf(status, body) {
  const {error, code, record} = typeof body?.code === "string" ? body : {error: `HTTP status ${status}`, code: "unknown"}
  const made = new (KINDS[status] ?? KvError)(status, code, error)
  if (made instanceof PreconditionFailed && record !== undefined) made.held = record
  return made
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms))
const between = (least, most) => least + Math.random() * (most - least)
const quoted = encodeURIComponent

/** What is given of some parameters, with the question mark; empty when nothing is. */
function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null)
  return given.length ? "?" + new URLSearchParams(given) : ""
}

const recordPath = (table, key, parameters = {}) => `/${quoted(table)}/key/${quoted(key)}${query(parameters)}`

/** A name that nothing else is called; `crypto.randomUUID` is there for secure pages only. */
function freshName() {
  return btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(12))))
}

function checkedUrls(urls) {
  const found = [urls].flat().map((url) => {
    const parsed = new URL(String(url).includes("://") ? url : `http://${url}`)
    if (!["http:", "https:"].includes(parsed.protocol)) throw new TypeError(`${url}: a node speaks http or https`)
    return parsed.origin
  })
  if (!found.length) throw new TypeError("urls: give at least one, such as http://127.0.0.1:6661")
  return found
}

/** JSON would leave such values out, or make null of them: they are refused, with the place where they are. */
function encoded(value, place = "value") {
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw new TypeError(`${place}: a record's value is an object with fields`)
  }
  const check = (one, where) => {
    if (typeof one === "number" && !Number.isFinite(one)) throw new TypeError(`${where}: ${one} is no JSON number`)
    if (["undefined", "function", "symbol", "bigint"].includes(typeof one)) {
      throw new TypeError(`${where}: ${typeof one} is no JSON`)
    }
    if (one instanceof Map || one instanceof Set || ArrayBuffer.isView(one)) {
      throw new TypeError(`${where}: ${one.constructor.name} is no JSON; use an array or an object`)
    }
    if (one && typeof one === "object" && typeof one.toJSON !== "function") {
      for (const [name, inner] of Object.entries(one)) check(inner, `${where}.${name}`)
    }
  }
  check(value, place)
  return JSON.stringify(value)
}

/** A cluster, as one user. Make it with `Client.connect`. */
export class Client {
  #urls
  #deadlineMs
  #token = null
  #login = null        // path and body of the login, to log in again
  #renewing = null
  #causal = null

  /** @param urls of some nodes; all are used, beginning with the first that answers. */
  constructor(urls, {deadlineMs = DEADLINE_MS} = {}) {
    this.#urls = checkedUrls(urls)
    this.#deadlineMs = deadlineMs
  }

  /** A client, once one of the nodes answered. */
  static async connect(urls, options = {}) {
    const client = new Client(urls, options)
    await client.request("GET", "/heartbeat", {repeatable: true})
    return client
  }

  get token() { return this.#token }
  set token(token) { [this.#token, this.#login] = [token, null] }
  get urls() { return [...this.#urls] }
  get canRenew() { return this.#login !== null }

  // Users

  /** Log in; a name that is not registered is registered, unless `registers` is false (then: NotFound). */
  async login(name, secret, {registers = true} = {}) {
    await this.#enter(name, registers ? {secret} : {secret, new: false})
  }

  /** Become a user; KvError with code `user_exists` when the name is taken. */
  async register(name, secret) { await this.#enter(name, {secret, new: true}) }

  async #enter(name, asked) {
    await this.#logIn(`/auth/${quoted(name)}`, asked, {secret: asked.secret, new: false})
  }

  async loginAdmin(password) { await this.#logIn("/admin/login", {password}, {password}) }

  /** Have all of the user's tokens stop working. */
  async logout(name) {
    await this.request("POST", `/auth/${quoted(name)}/logout`, {body: "{}", repeatable: true})
    this.token = null
  }

  async #logIn(path, asked, again) {
    const answer = await this.#ask("POST", path, {body: JSON.stringify(asked), repeatable: true}, null)
    this.#token = answer.token
    this.#login = [path, again]
  }

  /** Log in again, or wait for another request that does. `ended` is the token that counts no more. */
  async renew(ended) {
    if (this.#token !== ended || !this.#login) return
    this.#renewing ??= this.#logIn(this.#login[0], this.#login[1], this.#login[1]).finally(() => this.#renewing = null)
    await this.#renewing
  }

  // Records

  /** Write a record. Options: w, ttl (seconds), ifMatch (an etag), ifNoneMatch (true), idempotencyKey, signal. */
  put(table, key, value, {w, ttl, ...options} = {}) {
    return this.#write("PUT", recordPath(table, key, {w, ttl}), encoded(value), options)
  }

  /** Merge changes into a record (RFC 7396): null takes a field away. */
  patch(table, key, changes, {w, ...options} = {}) {
    return this.#write("PATCH", recordPath(table, key, {w}), encoded(changes, "changes"), options)
  }

  /** Read a record; NotFound where there is none. Options: r, signal. */
  get(table, key, {r, signal} = {}) {
    return this.request("GET", recordPath(table, key, {r}), {repeatable: true, signal})
  }

  async delete(table, key, {w, ...options} = {}) {
    await this.#write("DELETE", recordPath(table, key, {w}), undefined, options)
  }

  /** Have a record end so many seconds from now, as it is. */
  touch(table, key, ttl) {
    return this.request("POST", `${recordPath(table, key)}/touch${query({ttl})}`, {repeatable: true})
  }

  /** Change a record by what it is: `change(value or null)` gives the new value, or null to leave it. */
  async update(table, key, change) {
    const until = Date.now() + UPDATE_MS
    const read = () => this.get(table, key).catch((error) => {
      if (error instanceof NotFound) return null
      throw error
    })
    let held = await read()
    for (let failures = 1; ; failures++) {
      const began = Date.now(), value = change(held?.value ?? null)
      if (value === null) return held
      try {
        return await this.put(table, key, value, held ? {ifMatch: held.etag} : {ifNoneMatch: true})
      } catch (error) {
        if (!(error instanceof PreconditionFailed) || Date.now() > until) throw error
        if (failures === 1 && error.held !== undefined) {
          held = error.held
          continue
        }
        await sleep(between(0, Math.max(2, Date.now() - began) * 4 ** Math.min(failures - 1, 3)))
        held = await read()
      }
    }
  }

  /** The keys that this user may read, in order. Options: prefix, after, limit. */
  keys(table, {prefix, after, limit} = {}) {
    return this.request("GET", `/${quoted(table)}/keys${query({prefix, after, limit})}`, {repeatable: true})
  }

  /** All of them, page by page: for tables of any size. */
  async* scan(table, prefix = "") {
    for (let after = ""; ;) {
      const page = await this.keys(table, {prefix: prefix || undefined, after: after || undefined, limit: PAGE})
      if (!page.length) return
      yield* page
      after = page.at(-1)
    }
  }

  /** Those of some records that exist and this user may read, by key. */
  getMany(table, keys) {
    return this.request("POST", `/${quoted(table)}/keys`, {body: JSON.stringify({keys: [...keys]}), repeatable: true})
  }

  /** Many puts and deletes in one request, an outcome each: {op: "put" or "delete", key, value?}. */
  async batch(table, ops) {
    const fresh = freshName()
    const named = [...ops].map((op, place) => {
      if (op.value !== undefined) encoded(op.value, `the value of ${op.key}`)
      return {idempotency_key: `${fresh}.${place}`, ...op}
    })
    return (await this.request("POST", `/${quoted(table)}/batch`, {body: JSON.stringify({ops: named}), repeatable: true}))
      .results
  }

  // What happens

  /** Changes of a key, a prefix or a whole table, for `for await`. Options: key, prefix, from (a cursor), initial. */
  watch(table, options = {}) { return new Watch(this, table, options) }

  /** What this user may read of a table, kept current. */
  mirror(table, prefix = "") { return new Mirror(this.watch(table, {prefix, initial: true})) }

  /** Be seen: a record that is there as long as this page is. Resolves when a node has it. */
  presence(table, key, value, {ttl} = {}) { return new Presence(this, table, key, value, ttl).begin() }

  // The cluster

  members() { return this.request("GET", "/membership", {repeatable: true}) }
  stats() { return this.request("GET", "/stats", {repeatable: true}) }

  // Requests

  #write(method, path, body, {ifMatch, ifNoneMatch, idempotencyKey, signal} = {}) {
    const headers = {}
    if (ifMatch) headers["If-Match"] = ifMatch === "*" ? "*" : `"${ifMatch}"`
    if (ifNoneMatch) headers["If-None-Match"] = "*"
    if (ifMatch || ifNoneMatch) headers.Prefer = "return=representation"
    const name = idempotencyKey ?? freshName()
    if (name) headers["Idempotency-Key"] = name
    return this.request(method, path, {body, headers, repeatable: Boolean(name), signal})
  }

  /** Any route, as this user: the answer's JSON. `repeatable`: it does no harm to carry it out again. */
  async request(method, path, options = {}) {
    const token = this.#token
    try {
      return await this.#ask(method, path, options, token)
    } catch (error) {
      if (!(error instanceof Unauthorized) || error.code !== "bad_token" || !this.canRenew) throw error
    }
    await this.renew(token)
    return this.#ask(method, path, options, this.#token)
  }

  async #ask(method, path, {body, headers = {}, repeatable = false, signal} = {}, token) {
    const until = Date.now() + this.#deadlineMs
    let last = new Unavailable(0, "unreachable", "no node answers"), doubt = null
    for (let attempt = 0; attempt < ROUNDS * this.#urls.length; attempt++) {
      const round = Math.floor(attempt / this.#urls.length)
      if (attempt && attempt % this.#urls.length === 0) {
        await sleep(between(PAUSE_MS / 2, PAUSE_MS) * 2 ** (round - 1))
      }
      if (Date.now() >= until) break
      const url = this.#urls[0]
      try {
        return await this.#once(method, url + path, body, headers, token, Math.min(REQUEST_MS, until - Date.now()), signal)
      } catch (error) {
        if (signal?.aborted) throw signal.reason
        if (!(error instanceof KvError)) {
          // A page is not told whether a request left; what may not be repeated is in doubt then.
          last = new Unavailable(0, repeatable ? "unreachable" : "uncertain", `${url} did not answer: ${error.message}`)
          doubt = repeatable && method !== "GET" ? new Unavailable(0, "uncertain", last.message) : doubt
        } else if (error.status !== 503) {
          throw doubt === null || TELLS.has(error.status) ? error : doubt
        } else {
          last = error
        }
      }
      this.leave(url)
      if (last.code === "uncertain") {
        doubt = last
        if (!repeatable) break
      }
    }
    throw doubt ?? last
  }

  async #once(method, url, body, headers, token, timeoutMs, signal) {
    const sent = {...headers}
    if (token) sent.Authorization = `Bearer ${token}`
    if (this.#causal) sent["X-Causal-Token"] = this.#causal
    const ended = AbortSignal.timeout(timeoutMs)
    const answer = await fetch(url, {
      method, body, headers: sent, cache: "no-store", credentials: "omit",
      signal: signal && AbortSignal.any ? AbortSignal.any([signal, ended]) : ended,
    })
    const text = await answer.text()
    this.#causal = answer.headers.get("X-Causal-Token") ?? this.#causal
    const told = text ? JSON.parse(text) : null
    if (answer.ok) return told
    throw errorOf(answer.status, told)
  }

  /** The next request begins at another node than this. */
  leave(url) { if (this.#urls[0] === url) this.#urls.push(this.#urls.shift()) }
}

/** A websocket to one node, and when that is lost, to the next; `ends` has opened, received and, if it can, stream. */
class Connection {
  #client
  #urls
  #ends
  #socket = null
  #shown = null
  #pauseMs = FIRST_MS
  #heardMs = 0
  #pinging = null
  #unopened = 0
  #stopStream = null
  isOver = false

  constructor(client, ends) {
    [this.#client, this.#urls, this.#ends] = [client, client.urls, ends]
    globalThis.addEventListener?.("pagehide", this.#hide)   // a browser may drop a page and its sockets without a word
    this.#connect()
  }

  send(frame) { if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame)) }

  /** The node serves: if it is lost, the next one is tried without delay. */
  settle() { this.#pauseMs = FIRST_MS }

  /** Leave this node for the next one. */
  drop() { this.#lost() }

  /** Whether a refusal is mended by logging in again: that is done then, and a connection made anew. */
  renews(code) {
    if (code !== "bad_token" || !this.#client.canRenew) return false
    this.#client.renew(this.#shown).catch(() => this.#client.token = null).then(() => this.drop())
    return true
  }

  close() {
    this.isOver = true
    globalThis.removeEventListener?.("pagehide", this.#hide)
    this.#end()
  }

  #hide = () => this.close()

  #end() {
    clearInterval(this.#pinging)
    this.#stopStream?.()
    const socket = this.#socket
    this.#socket = this.#stopStream = null
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null
      socket.close()
    }
  }

  #lost() {
    this.#end()
    if (this.isOver) return
    this.#urls.push(this.#urls.shift())
    setTimeout(() => this.#connect(), between(this.#pauseMs / 2, this.#pauseMs))
    this.#pauseMs = Math.min(LONGEST_MS, this.#pauseMs * 2)
  }

  #connect() {
    if (this.isOver) return
    this.#shown = this.#client.token
    if (this.#ends.stream && this.#unopened >= NO_SOCKETS * this.#urls.length) return this.#listen()
    const socket = this.#socket = new WebSocket(this.#urls[0].replace(/^http/, "ws") + "/ws", "dynakv.v1.json")
    this.#heardMs = Date.now()
    this.#unopened++
    socket.onopen = () => {
      this.#unopened = 0
      if (this.#shown) this.send({op: "auth", id: 1, token: this.#shown})
      this.#ends.opened(true)
    }
    socket.onmessage = (message) => {
      this.#heardMs = Date.now()
      const frame = JSON.parse(message.data)
      if (frame.id !== 0) this.#ends.received(frame)
    }
    socket.onclose = () => this.#lost()
    this.#pinging = setInterval(() => {
      const silent = Date.now() - this.#heardMs
      if (silent > (socket.readyState === WebSocket.OPEN ? 2 * PING_MS : OPEN_MS)) this.#lost()
      else this.send({op: "ping", id: 0})
    }, PING_MS / 2)
  }

  /** Where websockets do not work, a proxy say, an event stream does the same. */
  #listen() {
    const stopping = new AbortController()
    this.#stopStream = () => stopping.abort()
    let silence = setTimeout(() => stopping.abort(), OPEN_MS)
    const hears = () => {
      clearTimeout(silence)
      silence = setTimeout(() => stopping.abort(), SILENT_MS)
    }
    this.#ends.opened(false)
    this.#ends.stream(this.#urls[0], this.#shown, stopping.signal, hears)
      .catch(() => undefined)
      .then(() => {
        clearTimeout(silence)
        this.#unopened = 0       // the next time websockets may work again
        if (!stopping.signal.aborted || this.#stopStream) this.#lost()
      })
  }
}

/**
 * Changes as they happen: `{type, table, key, record, cursor, reason}`. Goes on at another node when a connection is
 * lost, behind what was heard; a moment's changes may be heard again. Type `Updated` or `Deleted`; `lagged` or `reset`
 * when something was missed: then read afresh. With `initial`: `begin`, all there is as `Updated`, `synced`.
 */
export class Watch {
  #client
  #table
  #options
  #cursor
  #isStale = false
  #changes = []
  #waiting = null
  #error = null
  #isOver = false
  #connection
  #asking

  constructor(client, table, {key, prefix, from, initial = false} = {}) {
    [this.#client, this.#table, this.#options, this.#cursor] = [client, table, {key, prefix, initial}, from]
    /** Resolves when the first subscription stands: from then on nothing is missed. */
    this.subscribed = new Promise((done, failed) => [this.#stands, this.#fails] = [done, failed])
    this.subscribed.catch(() => undefined)
    this.#connection = new Connection(client, {
      opened: (isSocket) => this.#opened(isSocket),
      received: (frame) => this.#received(frame),
      stream: (...given) => this.#stream(...given),
    })
    this.#asking = setInterval(() => this.#connection.send({op: "bookmark", id: 3, sub: 2}), BOOKMARK_MS)
  }

  #stands
  #fails

  close() {
    this.#isOver = true
    clearInterval(this.#asking)
    this.#connection.close()
    this.#wake()
  }

  [Symbol.asyncIterator]() { return this }

  async next() {
    while (!this.#changes.length) {
      if (this.#error) throw this.#error
      if (this.#isOver) return {done: true, value: undefined}
      await new Promise((done) => this.#waiting = done)
    }
    return {done: false, value: this.#changes.shift()}
  }

  async return() {
    this.close()
    return {done: true, value: undefined}
  }

  #where() {
    const {key, prefix, initial} = this.#options
    const isAfresh = initial && !this.#cursor
    return {...(key !== undefined ? {key} : {prefix: prefix ?? ""}), ...(isAfresh ? {initial: true} : {})}
  }

  #opened(isSocket) {
    this.#isStale = false
    const where = this.#where()
    if (where.initial) this.#add({type: "begin"})
    const from = this.#cursor ? {from: this.#cursor} : {}
    if (isSocket) this.#connection.send({op: "subscribe", id: 2, table: this.#table, ...where, ...from})
  }

  #received(frame) {
    if (this.#isStale) return
    if (frame.id === 3) this.#cursor = frame.cursor ?? this.#cursor
    else if (frame.op === "lagged" || frame.op === "reset") this.#missed(frame.op)
    else if (frame.op === "event") this.#event(frame)
    else if (frame.op === "synced") {
      this.#cursor = frame.cursor
      this.#add({type: "synced"})
    } else if (frame.error && REFUSALS.has(frame.code)) {
      if (!this.#connection.renews(frame.code)) this.#refuse(errorOf(403, frame))
    } else if (frame.error) this.#connection.drop()
    else if (frame.id === 2) {
      this.#connection.settle()
      if (!this.#options.initial) this.#cursor ??= frame.cursor
      this.#stands()
    }
  }

  #event({type, table, key, record, cursor, reason}) {
    this.#cursor = cursor ?? this.#cursor
    this.#add({type, table, key, record, cursor, reason})
  }

  #refuse(error) {
    this.#error = error
    this.#fails(error)
    this.close()
  }

  #missed(word) {
    if (!this.#options.initial) return this.#add({type: word})
    this.#cursor = undefined        // whoever wants all that there is begins anew with it
    this.#isStale = true
    this.#connection.drop()
  }

  #add(change) {
    if (this.#changes.length >= QUEUE) {
      this.#changes = []
      if (this.#options.initial) return this.#missed("lagged")
      change = {type: "lagged"}
    }
    this.#changes.push(change)
    this.#wake()
  }

  #wake() {
    this.#waiting?.()
    this.#waiting = null
  }

  /** An event stream, read until it ends. */
  async #stream(url, token, signal, hears) {
    const {key, ...where} = this.#where()
    const rest = key !== undefined ? `/${quoted(key)}` : ""
    const headers = {Accept: "text/event-stream"}
    if (token) headers.Authorization = `Bearer ${token}`
    if (this.#cursor) headers["Last-Event-ID"] = this.#cursor
    const path = `/${quoted(this.#table)}/subscribe${rest}${query(where)}`
    const answer = await fetch(url + path, {headers, signal, cache: "no-store"})
    if (!answer.ok) return this.#received(await answer.json())
    hears()
    this.#connection.settle()
    this.#stands()
    let text = ""
    for (const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader(); ;) {
      const {done, value} = await reader.read()
      if (done) return
      hears()
      const blocks = (text + value).split("\n\n")
      text = blocks.pop()
      for (const block of blocks) this.#told(block)
    }
  }

  /** One block of an event stream. */
  #told(block) {
    const fields = Object.fromEntries(block.split("\n").filter((line) => /^(id|event|data): /.test(line)).map((line) => {
      const at = line.indexOf(": ")
      return [line.slice(0, at), line.slice(at + 2)]
    }))
    if (this.#isStale) return
    if (fields.data === undefined) this.#cursor = fields.id ?? this.#cursor
    else if (fields.event === "synced") this.#received({op: "synced", cursor: fields.id})
    else if (fields.event) this.#received({op: fields.event})
    else {
      const data = JSON.parse(fields.data), isDeleted = data === "Deleted" || "Deleted" in Object(data)
      this.#event({
        type: isDeleted ? "Deleted" : "Updated", table: this.#table, key: data.key ?? this.#options.key,
        record: isDeleted ? null : data.Updated, cursor: fields.id, reason: isDeleted ? data.Deleted : undefined,
      })
    }
  }
}

/** A table, or the part of it under a prefix, kept current: `records` is a Map, `changes()` tells what changes. */
export class Mirror {
  #watch
  #told = null
  #readers = new Set()
  records = new Map()
  isSynced = false

  constructor(watch) {
    this.#watch = watch
    /** Resolves when all that there was has been heard. */
    this.synced = this.#follow()
    this.synced.catch(() => undefined)
  }

  /** Call something for each change, until the function that this answers is called. */
  onChange(tell) {
    this.#readers.add(tell)
    return () => this.#readers.delete(tell)
  }

  close() { this.#watch.close() }

  #follow() {
    return new Promise((done, failed) => {
      const hear = async () => {
        for await (const change of this.#watch) {
          this.#hear(change)
          if (this.isSynced) done()
        }
      }
      hear().catch(failed)
    })
  }

  #hear(change) {
    const {type, key, record} = change
    if (type === "begin") this.#told = new Set()
    else if (type === "synced") {
      const told = this.#told
      this.#told = null
      this.isSynced = true
      if (told) for (const gone of [...this.records.keys()].filter((one) => !told.has(one))) this.#delete(gone, change)
      this.#tell(change)
    } else if (type === "Updated") {
      this.#told?.add(key)
      if (this.records.get(key)?.etag === record.etag) return
      this.records.set(key, record)
      this.#tell(change)
    } else if (type === "Deleted") this.#delete(key, change)
  }

  #delete(key, {reason}) { if (this.records.delete(key)) this.#tell({type: "Deleted", key, record: null, reason}) }

  #tell(change) { for (const tell of this.#readers) tell(change) }
}

/** Being seen; made by `Client.presence`. `lost` resolves with the error when a node refuses it for good. */
export class Presence {
  #client
  #frame
  #value
  #accepted = null
  #number = 1
  #sent = new Map()
  #waiting = new Map()
  #connection = null
  #failure = null
  #tellLost

  constructor(client, table, key, value, ttl) {
    encoded(value)
    this.#client = client
    this.#value = value
    this.#frame = {op: "put", table, key, ephemeral: true, ...(ttl === undefined ? {} : {ttl})}
    this.lost = new Promise((done) => this.#tellLost = done)
  }

  async begin() {
    const made = this.#wait(this.#number + 1)
    this.#connection = new Connection(this.#client, {
      opened: () => this.#put(), received: (frame) => this.#received(frame),
    })
    await made
    return this
  }

  /** Be seen with another value; resolves when a node has it. */
  async update(value) {
    if (this.#failure) throw this.#failure
    encoded(value)
    this.#value = value
    await this.#wait(this.#put())
  }

  /** Be seen no more. */
  close() { this.#connection.close() }

  #wait(number) { return new Promise((done, failed) => this.#waiting.set(number, [done, failed])) }

  #put() {
    this.#sent.set(++this.#number, this.#value)
    this.#connection?.send({...this.#frame, id: this.#number, value: this.#value})
    return this.#number
  }

  #received(frame) {
    if (frame.error) this.#refused(frame)
    else if (this.#sent.has(frame.id)) {
      this.#connection.settle()
      this.#accepted = this.#sent.get(frame.id)
      this.#done(frame.id)
    }
  }

  #refused({id, code, error}) {
    if (this.#connection.renews(code)) return
    if (!NEVER_PUT.has(code) && (code !== "too_many" || this.#accepted)) return this.#connection.drop()
    const status = ["no_token", "bad_token", "another_user"].includes(code) ? 401 : code === "forbidden" ? 403 : 400
    const made = errorOf(status, {code, error})
    if (status === 400 && this.#accepted && this.#sent.has(id) && this.#sent.get(id) !== this.#accepted) {
      this.#value = this.#accepted        // what was seen before stays
      return this.#done(id, made)
    }
    this.#failure = made
    this.#connection.close()
    this.#done(this.#number + 1, made)
    if (this.#accepted) this.#tellLost(made)
  }

  #done(upto, error) {
    for (const number of this.#sent.keys()) if (number <= upto) this.#sent.delete(number)
    for (const [number, [done, failed]] of this.#waiting) {
      if (number > upto) continue
      this.#waiting.delete(number)
      if (error) failed(error)
      else done()
    }
  }
}
