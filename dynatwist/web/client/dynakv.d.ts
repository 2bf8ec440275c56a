/** Types of `dynakv.js`, which says more of each. */

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json }
export type Value = { [name: string]: Json }
export type Level = "one" | "quorum" | "majority" | "all"

/** A record. */
export interface Stored {
  value: Value
  version: number
  timestamp: number
  owner?: string
  etag: string
  vector_clock: { [writer: string]: number }
  expires_at?: number
  ephemeral?: true
  superseded?: true
}

export interface Options {
  signal?: AbortSignal
  /** For each try at a node. */
  timeoutMs?: number
  /** By which nodes log what they do of it: up to 64 letters, digits, `.`, `_`, `-`. */
  requestId?: string
  /** Called with the headers of the answer that counts. */
  heard?: (headers: Headers) => void
}
export interface WriteOptions extends Options {
  w?: Level
  ifMatch?: string
  ifNoneMatch?: boolean
  /** Empty for none. */
  idempotencyKey?: string
}

export interface CallOptions extends Options {
  headers?: { [name: string]: string }
  /** Whether it may be sent again though it may have been carried out. */
  repeatable?: boolean
  /** The body is text, and so is the answer: numbers stay as they are written. */
  raw?: boolean
}
/** Of the keys of a table. */
export interface Part {
  prefix?: string
  /** Ends the name of a folder, which is shown instead of its keys. */
  delimiter?: string
  after?: string
  limit?: number
}

export interface Operation {
  op: "put" | "delete"
  key: string
  value?: Value
  /** Of a put: seconds until it expires. */
  ttl?: number
  /** Of a put: the key must be absent. */
  ifNoneMatch?: boolean
  idempotencyKey?: string
}
export interface Outcome {
  status: number
  error?: string
  code?: string
  [name: string]: unknown
}

export interface Change {
  type: "Updated" | "Deleted" | "begin" | "synced" | "reset" | "lagged"
  table: string
  key: string
  record: Stored | null
  cursor?: string
  reason?: "deleted" | "expired"
}

export class KvError extends Error {
  readonly status: number
  readonly code: string
  readonly retryAfterS: number | null
  readonly requestId: string | null
  ofRequest(id: string): this
}
export class Unauthorized extends KvError {}
export class Forbidden extends KvError {}
export class NotFound extends KvError {}
export class PreconditionFailed extends KvError {
  readonly held?: Stored | null
}
export class Unavailable extends KvError {}

export class Watch implements AsyncIterableIterator<Change> {
  readonly ready: Promise<void>
  readonly cursor: string | null
  next(): Promise<IteratorResult<Change, undefined>>
  return(): Promise<IteratorResult<Change, undefined>>
  close(): void
  [Symbol.asyncIterator](): this
}

export class Presence {
  readonly lost: Promise<KvError>
  update(value: Value): Promise<void>
  close(): Promise<void>
}

export class Mirror extends EventTarget {
  readonly records: ReadonlyMap<string, Stored>
  readonly isSynced: boolean
  readonly ready: Promise<void>
  close(): void
}

export class Client {
  constructor(urls: string | string[])
  static connect(urls: string | string[], options?: Options): Promise<Client>
  readonly urls: string[]
  token: string | null

  login(name: string, secret: string, options?: Options & { registers?: boolean }): Promise<void>
  register(name: string, secret: string, options?: Options): Promise<void>
  loginAdmin(password: string, options?: Options): Promise<void>
  logout(name?: string, options?: Options): Promise<void>

  get(table: string, key: string, options?: Options & { r?: Level }): Promise<Stored>
  put(table: string, key: string, value: Value, options?: WriteOptions & { ttl?: number }): Promise<Stored>
  patch(table: string, key: string, changes: Value, options?: WriteOptions): Promise<Stored>
  delete(table: string, key: string, options?: WriteOptions): Promise<void>
  touch(table: string, key: string, ttl: number, options?: Options): Promise<Stored>
  keys(table: string, options?: Options & Part): Promise<string[]>
  getMany(table: string, keys: Iterable<string>, options?: Options): Promise<{ [key: string]: Stored }>
  store(table: string, options?: Options): Promise<{ [key: string]: Stored }>
  batch(table: string, ops: Iterable<Operation>, options?: Options): Promise<Outcome[]>

  watch(
    table: string,
    options?: { key?: string; prefix?: string; from?: string; initial?: boolean; signal?: AbortSignal },
  ): Watch
  mirror(table: string, options?: { prefix?: string; signal?: AbortSignal }): Promise<Mirror>
  presence(table: string, key: string, value: Value, options?: { ttl?: number; signal?: AbortSignal }): Promise<Presence>

  members(options?: Options): Promise<Json>
  stats(options?: Options): Promise<Json>
  call(method: string, path: string, body?: Json, options?: CallOptions): Promise<any>
}

export function freshName(): string
export function freshId(): string
export function named(ops: Iterable<Operation>): object[]
export function query(parameters: { [name: string]: unknown }): string
export function urlsOf(given: string | string[]): string[]
export function lifeOf(token: string): number
export function errorOf(status: number, content: string, retryAfter?: string | null): KvError
export interface StreamEvent {
  event?: string
  data?: string
  id?: string
}
export class EventParser {
  push(text: string): StreamEvent[]
}
export function frameOf(event: StreamEvent, table: string, key?: string): object
