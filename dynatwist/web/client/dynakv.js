/**
 * DynaTwist in a browser: users, records, watches, presence and mirrors, with failover between the nodes.
 *
 *     import {Client} from "http://127.0.0.1:6671/client/dynakv.js"
 *     const kv = await Client.connect(["http://127.0.0.1:6671", "http://127.0.0.1:6672"])
 *     await kv.login("alice", "wonderland")
 *     await kv.put("users", "profile", {level: 42})
 *     for await (const change of kv.watch("users", {prefix: "pro"})) console.log(change.type, change.key)
 *
 * No dependencies, no build step. Tokens travel in headers and in the first frame of a websocket, and never in a URL.
 * A page of another origin than the nodes' needs `--cors-origin` there.
 *
 * @module dynakv
 */

const SUBPROTOCOL = "dynakv.v1.json"
/** A node answers everything within two seconds, but for what is large; then the next one is asked. */
const REQUEST_TIMEOUT_MS = 5000
/** How often each node is tried: one may be frozen and the next just starting, and both are there a moment later. */
const ROUNDS = 3
/** Between two rounds, doubled each time: a node that is busy or starting has room again by then. */
const PAUSE_MS = 200
/** Before a lost connection is made anew, doubled each time, so that a cluster that restarts is not hammered ... */
const FIRST_PAUSE_MS = 100
/** ... up to this: a listener misses no more than that after its cluster is back. */
const MAX_PAUSE_MS = 2000
/** For a node to open a websocket or an event stream, or the next one is tried. */
const OPEN_TIMEOUT_MS = 5000
/** Between two pings. A node that does not answer one for as long is left before others miss this page (15 s). */
const PING_MS = 4000
/** Between two questions whether the node of an event stream is alive, which has this long to answer. */
const PROBE_MS = 5000
/** Nodes send a comment down an event stream every 15 s: two were missed. */
const SILENT_STREAM_MS = 32000
/** A watch asks so often where it is: an old cursor is worth less, since deletes behind it may be collected. */
const BOOKMARK_MS = 15000
/** Changes that wait for a slow reader; then it is told `lagged`, as a node would tell it. */
const QUEUE = 10000
/** For a node to hear a goodbye: two round trips on a bad line. */
const GOODBYE_MS = 2000
/** A token is renewed when so much of its life is over: what goes by it does not end with it, though nodes are away. */
const AGING = 0.5
/** When it could not be renewed, it is tried again so much later. */
const RENEW_PAUSE_MS = 30000
/** How often a batch is sent again in part: as many times as there are other nodes in a small cluster. */
const MORE_TRIES = 2
/** Of randomness in the name of a write: no two of a user's are called the same by chance. */
const NAME_BYTES = 12
/** An id of a request that is made here begins so: nodes log of it what went wrong or took long, and nothing else. */
const MADE = "dk-"
/** Refusals that hold of the tries before as well: by what is held, or for good. */
const TELLS = [400, 404, 405, 409, 412, 413, 415, 422]
/** Codes that say that the token counts no more. */
const STALE = ["bad_token", "bad_ticket"]
/** Codes of refusals that every other node would repeat. */
const REFUSALS = [
  "no_token", "bad_token", "forbidden", "foreign_origin", "another_user", "malformed", "bad_table", "bad_key",
  "bad_prefix", "reserved_table", "system_table", "not_an_object", "unknown_op",
]
const NEVER = [...REFUSALS, "bad_ephemeral", "bad_ttl", "too_large", "too_deep", "malformed_json"]
/** Says goodbye to a node that is left for another one: what was put there by this page is put again elsewhere. */
const CLOSE_ELSEWHERE = 4000
const FETCH = {cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer"}

// Errors

/** An error object from a node: `status` is that of HTTP, 0 when no node answered; `code` is snake_case. */
export class KvError extends Error {
  constructor(status, code, text) {
    super(text)
    this.name = new.target.name
    this.status = status
    this.code = code
    /** Seconds after which the node would rather be asked again; `null` where it does not say. */
    this.retryAfterS = null
    /** Of the request, by which it is found in logs of nodes; `null` for what was told on a websocket. */
    this.requestId = null
  }

  /** This, as what came of a request; it is said by which id nodes have logged it, where a node failed. */
  ofRequest(id) {
    this.requestId = id
    if (this.status === 0 || this.status >= 500) this.message += ` (request ${id})`
    return this
  }
}
/** 401: no token, or none that counts. */
export class Unauthorized extends KvError {}
/** 403: not yours. */
export class Forbidden extends KvError {}
/** 404. */
export class NotFound extends KvError {}
/** 412: a condition did not hold. `held` is what is there instead, `null` for nothing, `undefined` if not told. */
export class PreconditionFailed extends KvError {}
/** 503, or no node answers. With code `uncertain` a write may have taken effect; with any other it did not. */
export class Unavailable extends KvError {}

const ERRORS = {401: Unauthorized, 403: Forbidden, 404: NotFound, 412: PreconditionFailed, 503: Unavailable}
const STATUSES = {no_token: 401, bad_token: 401, another_user: 401, forbidden: 403, foreign_origin: 403}

/** What an answer with an error status says. */
export function errorOf(status, content, retryAfter = null) {
  let told
  try {
    told = JSON.parse(content)
  } catch {
    told = null
  }
  const {error = `HTTP status ${status}`, code = "unknown", record} = told ?? {}
  const made = new (ERRORS[status] ?? KvError)(status, code, error)
  if (status === 412) made.held = record
  if (retryAfter !== null && /^\d+$/.test(retryAfter)) made.retryAfterS = Number(retryAfter)
  return made
}

/** What a frame of a websocket says that is an error. */
function errorOfFrame({error, code}) {
  const status = STATUSES[code] ?? 400
  return new (ERRORS[status] ?? KvError)(status, code, error)
}

// Small parts

/** A name for a write, by which the nodes know it again: it is made once, however often it is sent. */
export function freshName() {
  const bytes = crypto.getRandomValues(new Uint8Array(NAME_BYTES))
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_")
}

/** An id for a request. */
export function freshId() {
  const bytes = crypto.getRandomValues(new Uint8Array(8))
  return MADE + [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")
}

/** Operations of a batch, each with a name; without one where its caller gave an empty one. */
export function named(ops) {
  const fresh = freshName()
  return [...ops].map(({idempotencyKey, ifNoneMatch, ...op}, place) => {
    if (ifNoneMatch) op.if_none_match = true
    const name = idempotencyKey ?? op.idempotency_key ?? `${fresh}.${place}`
    delete op.idempotency_key
    return name === "" ? op : {...op, idempotency_key: name}
  })
}

/** Between half of a time and all of it, so that those who lost the same node do not come back all at once. */
const jittered = (ms) => ms * (0.5 + Math.random() / 2)

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => { signal?.removeEventListener("abort", cut); resolve() }, ms)
    const cut = () => { clearTimeout(timer); reject(signal.reason) }
    if (signal?.aborted) cut()
    else signal?.addEventListener("abort", cut, {once: true})
  })
}

/** Fails when a node is not there: an event stream that is silent does not tell. */
const probe = (url) => fetch(`${url}/heartbeat`, {...FETCH, signal: AbortSignal.timeout(PROBE_MS)})

const eitherOf = (...signals) => AbortSignal.any(signals.filter(Boolean))

/** `?a=b` of what is given; empty when nothing is. */
export function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null)
  return given.length ? `?${new URLSearchParams(given)}` : ""
}

const segment = encodeURIComponent
const recordPath = (table, key, parameters = {}) => `/${segment(table)}/key/${segment(key)}${query(parameters)}`

/** URLs of nodes as they are used: one is a list of one, `http://` where there is no scheme. */
export function urlsOf(given) {
  const urls = [given].flat().map((text) => (/^https?:\/\//.test(text) ? text : `http://${text}`).replace(/\/+$/, ""))
  if (!urls.length) throw new TypeError("give at least one URL, such as http://127.0.0.1:6661")
  urls.forEach((url) => new URL(url))
  return urls
}

/** For how many milliseconds a token is good from when it was given; for ever where it does not say. */
export function lifeOf(token) {
  try {
    const claims = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")))
    return (claims.exp - claims.iat) * 1000 || Infinity
  } catch {
    return Infinity
  }
}

/** Takes an event stream apart (WHATWG HTML, section 9.2), cut anywhere. */
export class EventParser {
  #rest = ""
  #event = {}

  /** Events that are complete by now: `{event, data, id}`; an `id` alone is one without `data`. */
  push(text) {
    const lines = (this.#rest + text).split("\n")
    this.#rest = lines.pop()
    return lines.map((line) => this.#line(line.replace(/\r$/, ""))).filter(Boolean)
  }

  #line(line) {
    if (line === "") {
      const event = this.#event
      this.#event = {}
      return "data" in event || "id" in event ? event : null
    }
    const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line)
    if (name === "data" && "data" in this.#event) this.#event.data += `\n${value}`
    else if (["data", "id", "event"].includes(name)) this.#event[name] = value
    return null
  }
}

/** An event of a stream, as the frame by which a websocket tells of it. */
export function frameOf({event, data, id}, table, key) {
  if (data === undefined) return {id: 3, cursor: id}
  if (event) return {op: event, cursor: id}
  const told = JSON.parse(data)
  const place = {op: "event", table, key: told.key ?? key, cursor: id}
  if (told.Updated) return {...place, type: "Updated", record: told.Updated}
  return {...place, type: "Deleted", record: null, reason: told.Deleted ?? "deleted"}
}

// Requests

/** Whose requests these are: a token, and how to get the next one. */
class Session {
  #token = null
  #enter = null
  #renewing = null
  #agesAt = Infinity

  get token() { return this.#token }

  /** @param enter gets a token; asked again when that one ends; `null` where nobody can. */
  use(token, enter) {
    this.#token = token
    this.#enter = enter
    this.#agesAt = token === null ? Infinity : Date.now() + AGING * lifeOf(token)
  }

  /**
   * A token counts no more: get another one, once for all who notice.
   * @returns whether there is another one now.
   */
  async renew(stale) {
    if (this.#token !== stale) return this.#token !== null
    if (this.#enter === null) return false
    this.#renewing ??= this.#renew(this.#enter).finally(() => { this.#renewing = null })
    return this.#renewing
  }

  async #renew(enter) {
    try {
      const token = await enter()
      if (this.#enter === enter) this.use(token, enter)
      return true
    } catch (error) {
      if (!(error instanceof Unauthorized || error instanceof Forbidden)) throw error
      if (this.#enter === enter) this.#enter = null
      return false
    }
  }

  /** Renew it in good time. */
  async refresh() {
    if (Date.now() < this.#agesAt) return
    this.#agesAt = Date.now() + RENEW_PAUSE_MS
    await this.renew(this.#token).catch(() => false)
  }
}

/** The nodes, each asked in turn until one answers. */
class Nodes {
  #urls
  #causal = null

  constructor(urls) { this.#urls = urls }

  /** The one in use first. */
  get urls() { return [...this.#urls] }

  /** The next request begins at another node; harmless where another request has seen to that. */
  leave(url) {
    if (this.#urls[0] === url) this.#urls.push(this.#urls.shift())
  }

  /**
   * The answer's JSON, of the first node that gives one.
   *
   * Repeated on another node is what certainly was not carried out, and, if it is `repeatable`, what perhaps was.
   *
   * @param session whose it is; none where no token is to be shown.
   * @param requestId the same over all tries.
   * @param heard told the headers of the answer that counts.
   * @param raw whether `body` is text, and the answer's text is wanted: numbers stay as they are written then.
   */
  async request(method, path, {requestId = freshId(), headers, ...options} = {}) {
    try {
      return await this.#tried(method, path, {...options, headers: {...headers, "X-Request-Id": requestId}})
    } catch (error) {
      throw error instanceof KvError ? error.ofRequest(requestId) : error
    }
  }

  async #tried(method, path, {body, headers, repeatable = method === "GET", raw, session, timeoutMs, signal, heard}) {
    const data = body === undefined || raw ? body : JSON.stringify(body)
    let last, doubt, isRenewed = false
    for (let tries = 0; tries < ROUNDS * this.#urls.length; tries += 1) {
      const round = Math.floor(tries / this.#urls.length)
      if (round && tries % this.#urls.length === 0) await pause(jittered(PAUSE_MS * 2 ** round), signal)
      const url = this.#urls[0], token = session?.token ?? null
      try {
        return await this.#once(url, method, path, {data, headers, raw, token, timeoutMs, signal, heard})
      } catch (error) {
        if (!(error instanceof KvError)) throw error
        if (error.status === 401 && token !== null && !isRenewed && await session.renew(token)) {
          isRenewed = true
          tries -= 1
          continue
        }
        if (error.status && error.status !== 503) throw doubt && !TELLS.includes(error.status) ? doubt : error
        last = error
      }
      this.leave(url)
      if (last.code === "uncertain") {
        doubt = last
        if (!repeatable) break
      }
    }
    throw doubt ?? last // one of the tries may have been carried out, whatever the others were told
  }

  async #once(url, method, path, {data, headers, raw, token, timeoutMs = REQUEST_TIMEOUT_MS, signal, heard}) {
    const sent = {...headers}
    if (token !== null) sent.Authorization = `Bearer ${token}`
    if (this.#causal !== null) sent["X-Causal-Token"] = this.#causal
    if (data !== undefined) sent["Content-Type"] = "application/json"
    let answer, content
    try {
      const ends = eitherOf(signal, AbortSignal.timeout(timeoutMs))
      answer = await fetch(url + path, {...FETCH, method, headers: sent, body: data, signal: ends})
      content = await answer.text()
    } catch (error) {
      if (signal?.aborted) throw signal.reason
      const code = method === "GET" ? "unreachable" : "uncertain"
      throw new Unavailable(0, code, `${url} did not answer: ${error.message}`)
    }
    this.#causal = answer.headers.get("X-Causal-Token") ?? this.#causal
    if (!answer.ok) throw errorOf(answer.status, content, answer.headers.get("Retry-After"))
    heard?.(answer.headers)
    if (raw) return content
    return content === "" ? null : JSON.parse(content)
  }
}

// Live connections

/** One websocket: opened in time, asked whether it is there, and ended when it is not. */
class Socket {
  #socket
  #beat
  #heardAt = 0
  #askedAt = 0
  #end

  /** @param on `{opened, received, beats}`; told nothing any more once it has ended. */
  constructor(url, on) {
    /** Fulfilled when it has ended, or was left. */
    this.ended = new Promise((resolve) => { this.#end = resolve })
    this.#socket = new WebSocket(`${url.replace(/^http/, "ws")}/ws`, SUBPROTOCOL)
    const late = setTimeout(() => this.leave(), OPEN_TIMEOUT_MS)
    this.#socket.onopen = () => { clearTimeout(late); on.opened() }
    this.#socket.onmessage = ({data}) => { this.#heardAt = Date.now(); on.received(JSON.parse(data)) }
    this.#socket.onclose = this.#socket.onerror = () => { clearTimeout(late); this.#over() }
    this.#beat = setInterval(() => { this.#ask(); on.beats() }, PING_MS)
  }

  send(frame) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame))
  }

  /** A node that does not answer is not waited for. */
  leave() {
    this.#socket.onopen = this.#socket.onmessage = null
    this.#socket.close(CLOSE_ELSEWHERE)
    this.#over()
  }

  /** Say goodbye; fulfilled when the node has heard that, or is lost. */
  async close() {
    this.#socket.onopen = this.#socket.onmessage = null
    this.#socket.close()
    await Promise.race([this.ended, pause(GOODBYE_MS)])
    this.#over()
  }

  #over() {
    clearInterval(this.#beat)
    this.#end()
  }

  /** Timers of a page in the background come late: what counts is whether a ping that was sent is answered. */
  #ask() {
    if (this.#socket.readyState !== WebSocket.OPEN) return
    const isOwed = this.#askedAt > this.#heardAt
    if (isOwed && Date.now() - this.#askedAt >= PING_MS * 0.9) {
      this.leave()
    } else if (!isOwed) {
      this.#askedAt = Date.now()
      this.send({op: "ping", id: 0})
    }
  }
}

/** A connection to a cluster: to one node, and when that is lost, to the next one. */
class Connection {
  #urls
  #session
  #on
  #socket = null
  #ends = new AbortController()
  #drop = () => {}
  #isSettled = false
  #isStream = false
  #isAway = false

  /**
   * @param on `opened()` when a websocket stands, and a token was shown on it; `received(frame)`; `refused(error)` when
   *     the token counts no more and there is no other; `unreachable()` when no node was there in some rounds;
   *     `stream()`, where an event stream will do, its path and headers.
   */
  constructor(urls, session, on) {
    this.#urls = urls
    this.#session = session
    this.#on = on
    this.#run()
  }

  /** Send a frame, if a websocket stands. */
  send(frame) { this.#socket?.send(frame) }

  /** The node serves: if it is lost, the next one is tried without delay. */
  settle() { this.#isSettled = true }

  /** Leave this node for the next one. */
  drop() { this.#drop() }

  /** End it, saying goodbye; fulfilled when the node has heard that. */
  async close() {
    const socket = this.#socket
    this.#ends.abort(new Error("closed"))
    await socket?.close()
  }

  async #run() {
    // A page that is left may be dropped without a word, and may be shown again later: from the cursor, elsewhere.
    globalThis.addEventListener?.("pagehide", this.#hide)
    globalThis.addEventListener?.("pageshow", this.#show)
    let pauseMs = FIRST_PAUSE_MS, failures = 0
    while (!this.#ends.signal.aborted) {
      this.#isSettled = false
      await (this.#isStream ? this.#listen(this.#urls[0]) : this.#talk(this.#urls[0]))
      failures = this.#isSettled ? 0 : failures + 1
      pauseMs = this.#isSettled ? FIRST_PAUSE_MS : Math.min(MAX_PAUSE_MS, pauseMs * 2)
      if (failures && failures % this.#urls.length === 0 && this.#on.stream) {
        this.#isStream = !this.#isStream // no node opened one: something between may forbid it
      }
      if (failures === ROUNDS * this.#urls.length) this.#on.unreachable?.()
      this.#urls.push(this.#urls.shift())
      await this.#rest(pauseMs)
    }
    globalThis.removeEventListener?.("pagehide", this.#hide)
    globalThis.removeEventListener?.("pageshow", this.#show)
  }

  #hide = () => {
    this.#isAway = true
    if (this.#socket === null) this.#drop()
    else this.#socket.close()
  }

  #show = () => { this.#isAway = false }

  async #rest(pauseMs) {
    const ends = this.#ends.signal
    do await pause(jittered(pauseMs), ends).catch(() => {})
    while (this.#isAway && !ends.aborted)
  }

  /** Talk to a node by websocket, until that ends. */
  async #talk(url) {
    if (typeof WebSocket === "undefined") return
    let shown = null, isOpen = false
    const auth = () => {
      shown = this.#session.token
      if (shown !== null) socket.send({op: "auth", id: 1, token: shown})
    }
    const open = () => { isOpen = true; this.#on.opened() }
    const authenticated = async (frame) => {
      if (!frame.error) return isOpen || open()
      if (!STALE.includes(frame.code)) return socket.leave() // it is starting, or its socket was another user's
      return this.#isRenewed(shown, frame).then((is) => (is ? auth() : socket.leave()))
    }
    let socket
    try {
      socket = new Socket(url, {
        opened: () => { auth(); if (shown === null) open() },
        received: (frame) => {
          if (frame.id === 1) authenticated(frame)
          else if (frame.id !== 0) this.#on.received(frame)
        },
        beats: () => this.#session.refresh().then(() => { if (isOpen && shown !== this.#session.token) auth() }),
      })
    } catch {
      return // the page's own policy forbids it
    }
    this.#socket = socket
    this.#drop = () => socket.leave()
    await socket.ended
    this.#socket = null
  }

  /** Listen to a node's event stream, until that ends. */
  async #listen(url) {
    const cut = new AbortController(), {path, headers, table, key} = this.#on.stream()
    this.#drop = () => cut.abort()
    let timer = setTimeout(this.#drop, OPEN_TIMEOUT_MS), probes
    const heard = () => { clearTimeout(timer); timer = setTimeout(this.#drop, SILENT_STREAM_MS) }
    try {
      const token = this.#session.token
      if (token !== null) headers.Authorization = `Bearer ${token}`
      const answer = await fetch(url + path, {...FETCH, headers, signal: eitherOf(this.#ends.signal, cut.signal)})
      heard()
      probes = setInterval(() => { this.#session.refresh(); probe(url).catch(this.#drop) }, PROBE_MS)
      if (!answer.ok) {
        const {message, code} = errorOf(answer.status, await answer.text()), frame = {error: message, code}
        if (!STALE.includes(code)) this.#on.received(frame)
        else if (await this.#isRenewed(token, frame)) this.#isSettled = true
        return
      }
      this.#on.received({id: 2, ok: true})
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader(), parser = new EventParser()
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        heard()
        for (const event of parser.push(piece.value)) this.#on.received(frameOf(event, table, key))
      }
    } catch {
      // lost, or left: the next node is asked
    } finally {
      clearTimeout(timer)
      clearInterval(probes)
    }
  }

  async #isRenewed(token, frame) {
    const is = await this.#session.renew(token).catch(() => null) // null: no node could tell
    if (is === false) this.#on.refused(errorOfFrame(frame))
    return is === true
  }
}

/**
 * Changes as they happen: an asynchronous iterator that goes on at another node when a connection is lost.
 *
 * A change is `{type, table, key, record, cursor, reason}`. `type` is `Updated` or `Deleted`; `reset` or `lagged` when
 * something was missed, then read afresh; a watch with `initial` says `begin` instead, then tells all there is as
 * `Updated`, then `synced`.
 */
export class Watch {
  #where
  #cursor
  #changes = []
  #waiting = null
  #failure = null
  #isOver = false
  #isStale = false
  #connection
  #asks

  constructor(urls, session, where) {
    this.#where = where
    this.#cursor = where.from ?? null
    let stands, fails
    /** Fulfilled when the subscription stands: from then on nothing is missed. */
    this.ready = new Promise((resolve, reject) => { stands = resolve; fails = reject })
    this.ready.catch(() => {})
    this.#connection = new Connection(urls, session, {
      opened: () => this.#subscribe(),
      received: (frame) => this.#received(frame, stands, fails),
      refused: (error) => { fails(error); this.#fail(error) },
      stream: () => this.#stream(),
    })
    this.#asks = setInterval(() => this.#connection.send({op: "bookmark", id: 3, sub: 2}), BOOKMARK_MS)
    where.signal?.addEventListener("abort", () => this.close(), {once: true})
    if (where.signal?.aborted) this.close()
  }

  /** The position behind what was heard: `from` of another watch, at any node. */
  get cursor() { return this.#cursor }

  [Symbol.asyncIterator]() { return this }

  async next() {
    while (!this.#changes.length) {
      if (this.#failure) throw this.#failure
      if (this.#isOver) return {done: true, value: undefined}
      await new Promise((resolve) => { this.#waiting = resolve })
    }
    return {done: false, value: this.#changes.shift()}
  }

  async return() {
    this.close()
    return {done: true, value: undefined}
  }

  /** End it; iteration stops behind what was heard already. */
  close() {
    this.#isOver = true
    clearInterval(this.#asks)
    this.#connection.close()
    this.#wake()
  }

  #subscribe() {
    const {table, key, prefix} = this.#where
    const frame = {op: "subscribe", id: 2, table, key, prefix, from: this.#cursor ?? undefined}
    if (this.#beginsAfresh()) frame.initial = true
    this.#isStale = false
    this.#connection.send(frame)
  }

  #stream() {
    const {table, key, prefix} = this.#where, path = `/${segment(table)}/subscribe`
    const headers = this.#cursor === null ? {} : {"Last-Event-ID": this.#cursor}
    const initial = this.#beginsAfresh() || undefined
    this.#isStale = false
    return {
      path: key === undefined ? path + query({prefix, initial}) : `${path}/${segment(key)}${query({initial})}`,
      headers, table, key,
    }
  }

  #beginsAfresh() {
    return this.#where.initial && this.#cursor === null
  }

  #received(frame, stands, fails) {
    if (this.#isStale) return // a new connection begins with all there is
    if (frame.error) {
      if (!REFUSALS.includes(frame.code)) return this.#connection.drop()
      const error = errorOfFrame(frame)
      fails(error)
      return this.#fail(error)
    }
    if (frame.id === 2) {
      this.#connection.settle()
      if (this.#beginsAfresh()) this.#add({type: "begin"})
      if (!this.#where.initial) this.#cursor ??= frame.cursor ?? null
      stands()
    } else if (frame.id === 3) {
      this.#cursor = frame.cursor ?? this.#cursor
    } else if (frame.op === "event") {
      const {type, table, key, record = null, cursor, reason} = frame
      this.#cursor = cursor ?? this.#cursor
      this.#add({type, table, key, record, cursor, reason})
    } else if (frame.op === "synced") {
      this.#cursor = frame.cursor ?? this.#cursor
      this.#add({type: "synced"})
    } else if (frame.op === "reset" || frame.op === "lagged") {
      this.#missed(frame.op)
    }
  }

  /** Something was missed: whoever wants all that there is begins anew with it. */
  #missed(type) {
    if (!this.#where.initial) return this.#add({type})
    this.#cursor = null
    this.#isStale = true
    this.#connection.drop()
  }

  #add(change) {
    if (this.#changes.length >= QUEUE) {
      this.#changes = []
      if (this.#where.initial) return this.#missed("lagged")
      change = {type: "lagged"}
    }
    this.#changes.push({table: this.#where.table, key: "", record: null, ...change})
    this.#wake()
  }

  #fail(error) {
    this.#failure = error
    this.close()
  }

  #wake() {
    this.#waiting?.()
    this.#waiting = null
  }
}

/**
 * A record that is there as long as this page, and not much longer, whatever ends it. If its node is lost, it is put
 * anew at the next one; whoever listens hears of that as a change, and not of an end in between.
 */
export class Presence {
  #frame
  #value
  #accepted = null
  #number = 1
  #sent = new Map()
  #waiting = new Map()
  #failure = null
  #connection
  #lose

  constructor(urls, session, {table, key, value, ttl}) {
    this.#frame = {op: "put", table, key, ephemeral: true, ttl}
    this.#value = value
    /** Fulfilled with the error when a node refuses the record for good while it is held. */
    this.lost = new Promise((resolve) => { this.#lose = resolve })
    this.#connection = new Connection(urls, session, {
      opened: () => this.#put(),
      received: (frame) => this.#received(frame),
      refused: (error) => this.#fail(error),
      unreachable: () => {
        if (this.#accepted === null) this.#fail(new Unavailable(0, "unreachable", "no node opens a websocket"))
      },
    })
  }

  /** Fulfilled once it is seen; the client waits for that. */
  async seen() { await this.#made(this.#number + 1) }

  /** Be seen with another value; fulfilled when a node has it. If it is refused, what was seen before stays. */
  async update(value) {
    if (this.#failure) throw this.#failure
    this.#value = value
    await this.#made(this.#put())
  }

  /** Be seen no more: the node has heard of it when this is fulfilled, and tells the others. */
  async close() { await this.#connection.close() }

  #made(number) {
    return new Promise((resolve, reject) => this.#waiting.set(number, {resolve, reject}))
  }

  #put() {
    this.#number += 1
    this.#sent.set(this.#number, this.#value)
    this.#connection.send({...this.#frame, id: this.#number, value: this.#value})
    return this.#number
  }

  #received({id, error, code}) {
    if (error) return this.#refused(id, code, error)
    if (!this.#sent.has(id)) return undefined
    this.#connection.settle()
    this.#accepted = this.#sent.get(id)
    return this.#done(id)
  }

  #refused(id, code, text) {
    // "too_many": of connections before, whose records have not ended yet
    if (!NEVER.includes(code) && (code !== "too_many" || this.#accepted !== null)) return this.#connection.drop()
    const error = errorOfFrame({error: text, code})
    const isOfValue = error.status === 400 && this.#accepted !== null && this.#sent.has(id)
    if (!isOfValue || this.#sent.get(id) === this.#accepted) return this.#fail(error)
    this.#value = this.#accepted
    return this.#done(id, error)
  }

  #fail(error) {
    this.#failure = error
    this.#connection.close()
    this.#done(this.#number + 1, error)
    if (this.#accepted !== null) this.#lose(error)
  }

  /** Puts up to a number are made, or that one is refused. */
  #done(upto, error) {
    for (const number of this.#sent.keys()) if (number <= upto) this.#sent.delete(number)
    for (const [number, {resolve, reject}] of this.#waiting) {
      if (number > upto) continue
      this.#waiting.delete(number)
      if (error) reject(error)
      else resolve()
    }
  }
}

/**
 * A table, or the part of it under a prefix, kept current: `records` by key. Tells of each change by a `change` event,
 * whose `detail` is one as of `Watch`, and by `error` when no node lets this user listen any more.
 */
export class Mirror extends EventTarget {
  #watch
  #told = null
  #synced

  constructor(watch) {
    super()
    this.#watch = watch
    /** @type {Map<string, object>} */
    this.records = new Map()
    /** Whether all that there was has been heard. */
    this.isSynced = false
    let fails
    /** Fulfilled when it is synced. */
    this.ready = new Promise((resolve, reject) => { this.#synced = resolve; fails = reject })
    this.ready.catch(() => {})
    this.#follow()
      .then(() => fails(new Error("the mirror was closed")))
      .catch((error) => {
        fails(error)
        this.dispatchEvent(new CustomEvent("error", {detail: error}))
      })
      .finally(() => { this.isSynced = false })
  }

  /** It is kept current no more. */
  close() { this.#watch.close() }

  async #follow() {
    for await (const change of this.#watch) {
      if (change.type === "begin") this.#told = new Set()
      else if (change.type === "synced") this.#complete()
      else if (change.type === "Updated") this.#update(change)
      else if (change.type === "Deleted") this.#remove(change)
    }
  }

  #update(change) {
    this.#told?.add(change.key)
    if (this.records.get(change.key)?.etag === change.record.etag) return
    this.records.set(change.key, change.record)
    this.#tell(change)
  }

  #remove(change) {
    if (this.records.delete(change.key)) this.#tell(change)
  }

  /** All that there is was told: what was not is gone. */
  #complete() {
    const told = this.#told
    this.#told = null
    for (const key of told ? [...this.records.keys()] : []) {
      if (!told.has(key)) this.#remove({type: "Deleted", key, record: null})
    }
    this.isSynced = true
    this.#synced()
  }

  #tell(change) { this.dispatchEvent(new CustomEvent("change", {detail: change})) }
}

// The client

/**
 * A cluster, as one user; made by `Client.connect`.
 *
 * Every method takes `signal` (an `AbortSignal`), `timeoutMs` (for each try at a node, 5000), `requestId` (by which nodes
 * log what they do of it; otherwise one is made, which errors have) and `heard` (called with the `Headers` of the answer
 * that counts: `X-Replicas`, `X-Partial`, `X-Next-After`) among its options. Each write has a name, so that it is made
 * once, though its answer was lost and it was sent again; `idempotencyKey` gives it another name, and an empty one takes
 * it away.
 */
export class Client {
  #nodes
  #session = new Session()
  #name = null

  /** Made by `Client.connect`, or by hand where nodes need not be there yet. */
  constructor(urls) { this.#nodes = new Nodes(urlsOf(urls)) }

  /** A client, once one of the nodes answered; a single URL is a list of one. */
  static async connect(urls, options = {}) {
    const client = new Client(urls)
    await client.#nodes.request("GET", "/heartbeat", options)
    return client
  }

  /** URLs of the nodes, the one in use first. */
  get urls() { return this.#nodes.urls }

  /** The bearer token in use; set it to use one from elsewhere, which cannot be renewed then. */
  get token() { return this.#session.token }
  set token(token) { this.#session.use(token, null) }

  // Users

  /**
   * Log in; a name that is not registered is registered, unless `registers` is false (then: NotFound). The secret is
   * kept to renew the token when it ends.
   */
  async login(name, secret, {registers = true, ...options} = {}) {
    await this.#enter(name, registers ? {secret} : {secret, new: false}, options)
  }

  /** Become a user; KvError with code `user_exists` when the name is taken. */
  async register(name, secret, options = {}) { await this.#enter(name, {secret, new: true}, options) }

  async #enter(name, body, options) {
    await this.#login(`/auth/${segment(name)}`, body, {secret: body.secret, new: false}, options)
    this.#name = name
  }

  /** Log in as the administrator: from the node's own pages only. */
  async loginAdmin(password, options = {}) {
    await this.#login("/admin/login", {password}, {password}, options)
    this.#name = null
  }

  /** `again` is the body by which another token is asked for: nobody who was deleted meanwhile is made anew. */
  async #login(path, body, again, options) {
    const {token} = await this.#nodes.request("POST", path, {...options, body, repeatable: true})
    this.#session.use(token, async () => {
      try {
        return (await this.#nodes.request("POST", path, {body: again, repeatable: true})).token
      } catch (error) {
        throw error instanceof NotFound ? new Unauthorized(401, "bad_token", "the user was deleted meanwhile") : error
      }
    })
  }

  /** Have all of the user's tokens stop working, on every node. */
  async logout(name = this.#name, options = {}) {
    const session = {token: this.#session.token, renew: async () => false}, path = `/auth/${segment(name)}/logout`
    this.#session.use(null, null)
    await this.#nodes.request("POST", path, {...options, body: {}, repeatable: true, session})
  }

  // Records

  /** Read a record. */
  async get(table, key, {r, ...options} = {}) {
    return this.#request("GET", recordPath(table, key, {r}), options)
  }

  /** Write a record: `ttl` in seconds; `ifMatch`, an ETag that must be held, or `ifNoneMatch`: nothing must be. */
  async put(table, key, value, {w, ttl, ...options} = {}) {
    return this.#write("PUT", recordPath(table, key, {w, ttl}), value, options)
  }

  /** Merge changes into a record (RFC 7396). */
  async patch(table, key, changes, {w, ...options} = {}) {
    return this.#write("PATCH", recordPath(table, key, {w}), changes, options)
  }

  /** Delete a record. */
  async delete(table, key, {w, ...options} = {}) {
    await this.#write("DELETE", recordPath(table, key, {w}), undefined, options)
  }

  /** Have a record end so many seconds from now, as it is. */
  async touch(table, key, ttl, options = {}) {
    return this.#request("POST", `${recordPath(table, key)}/touch${query({ttl})}`, {...options, repeatable: true})
  }

  /** The keys that this user may read, in order; those with a `delimiter` behind the prefix as one name each. */
  async keys(table, {prefix, delimiter, after, limit, ...options} = {}) {
    return this.#request("GET", `/${segment(table)}/keys${query({prefix, delimiter, after, limit})}`, options)
  }

  /** Those of some records that exist and this user may read, by key. */
  async getMany(table, keys, options = {}) {
    return this.#request("POST", `/${segment(table)}/keys`, {...options, body: {keys: [...keys]}, repeatable: true})
  }

  /** All records of a table that this user may read, by key. */
  async store(table, options = {}) {
    return this.#request("GET", `/${segment(table)}/store`, options)
  }

  /** Many operations in one request, `{op: "put" or "delete", key, value?, ttl?, ifNoneMatch?, idempotencyKey?}`; an outcome each. */
  async batch(table, ops, {requestId = freshId(), ...options} = {}) {
    const sent = named(ops), times = new Map()
    for (const {key} of sent) times.set(key, (times.get(key) ?? 0) + 1)
    const ask = async (some) => {
      const repeatable = some.every((op) => "idempotency_key" in op), body = {ops: some}
      const answer = await this.#request("POST", `/${segment(table)}/batch`, {...options, requestId, body, repeatable})
      return answer.results
    }
    const outcomes = await ask(sent)
    for (let tries = 0; tries < MORE_TRIES; tries += 1) {
      const again = sent.map((_, place) => place).filter((place) =>
        times.get(sent[place].key) === 1 && mayRepeat(sent[place], outcomes[place]))
      if (!again.length) break
      this.#nodes.leave(this.#nodes.urls[0])
      await pause(jittered(PAUSE_MS), options.signal)
      const told = await ask(again.map((place) => sent[place])).catch((error) => {
        if (!(error instanceof KvError)) throw error
        return again.map(() => ({status: error.status || 503, error: error.message, code: error.code}))
      })
      again.forEach((place, at) => { outcomes[place] = later(outcomes[place], told[at]) })
    }
    return outcomes
  }

  // Live

  /** Changes of a `key`, a `prefix` or a whole table: `from` a cursor, or with all there is first (`initial`). */
  watch(table, {key, prefix, from, initial = false, signal} = {}) {
    return new Watch(this.#nodes.urls, this.#session, {table, key, prefix, from, initial, signal})
  }

  /** What this user may read of a table, kept current; once all there is has been heard. */
  async mirror(table, {prefix, signal} = {}) {
    const mirror = new Mirror(this.watch(table, {prefix, initial: true, signal}))
    await mirror.ready
    return mirror
  }

  /** A record that is there as long as this page; `ttl`: seconds for which it may be lost from sight, 15. */
  async presence(table, key, value, {ttl, signal} = {}) {
    const presence = new Presence(this.#nodes.urls, this.#session, {table, key, value, ttl})
    const gone = new Promise((_, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason), {once: true})
      if (signal?.aborted) reject(signal.reason)
    })
    try {
      await Promise.race([presence.seen(), gone])
    } catch (error) {
      presence.close()
      throw error
    }
    return presence
  }

  // The cluster

  /** `GET /membership`. */
  async members(options = {}) { return this.#request("GET", "/membership", options) }

  /** `GET /stats` of the node in use. */
  async stats(options = {}) { return this.#request("GET", "/stats", options) }

  /** Any other route; not repeated once it may have reached a node, unless `repeatable`. See `raw` of requests. */
  async call(method, path, body, options = {}) { return this.#request(method, path, {...options, body}) }

  async #write(method, path, body, {ifMatch, ifNoneMatch = false, idempotencyKey = freshName(), ...options}) {
    const headers = {}
    if (ifMatch !== undefined) headers["If-Match"] = ifMatch === "*" ? "*" : `"${ifMatch}"`
    if (ifNoneMatch) headers["If-None-Match"] = "*"
    if (ifMatch !== undefined || ifNoneMatch) headers.Prefer = "return=representation"
    if (idempotencyKey !== "") headers["Idempotency-Key"] = idempotencyKey
    return this.#request(method, path, {...options, body, headers, repeatable: idempotencyKey !== ""})
  }

  #request(method, path, options) {
    return this.#nodes.request(method, path, {...options, session: this.#session})
  }
}

function mayRepeat(op, outcome) {
  return outcome.status === 503 && (outcome.code !== "uncertain" || "idempotency_key" in op)
}

/** What is known of an operation after another try: a refusal that tells nothing of the first leaves it in doubt. */
function later(before, outcome) {
  const isTold = outcome.status < 400 || TELLS.includes(outcome.status) || outcome.code === "uncertain"
  return isTold || before.code !== "uncertain" ? outcome : before
}
