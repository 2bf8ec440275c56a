/** Types of dynakv.js. */

export type Level = "one" | "quorum" | "majority" | "all"
export type Value = { [name: string]: unknown }

export interface Record<V = Value> {
  value: V
  vector_clock: { [actor: string]: number }
  version: number
  /** Milliseconds since the epoch. */
  timestamp: number
  owner: string
  etag: string
  expires_at?: number | null
  superseded?: boolean
  ephemeral?: boolean
}

export interface Change<V = Value> {
  type: "Updated" | "Deleted" | "lagged" | "reset" | "begin" | "synced"
  table?: string
  key?: string
  record?: Record<V> | null
  cursor?: string
  reason?: "deleted" | "expired"
}

export interface WriteOptions {
  w?: Level
  ifMatch?: string
  ifNoneMatch?: boolean
  idempotencyKey?: string
  signal?: AbortSignal
}

export type Op = { op: "put"; key: string; value: Value } | { op: "delete"; key: string }
export interface Outcome { status: number; etag?: string; version?: number; error?: string; code?: string }

export class KvError extends Error {
  status: number
  code: string
}
export class Unauthorized extends KvError {}
export class Forbidden extends KvError {}
export class NotFound extends KvError {}
export class PreconditionFailed extends KvError { held?: Record | null }
export class Unavailable extends KvError {}

export class Client {
  constructor(urls: string | string[], options?: { deadlineMs?: number })
  static connect(urls: string | string[], options?: { deadlineMs?: number }): Promise<Client>
  token: string | null
  readonly urls: string[]
  login(name: string, secret: string, options?: { registers?: boolean }): Promise<void>
  register(name: string, secret: string): Promise<void>
  loginAdmin(password: string): Promise<void>
  logout(name: string): Promise<void>
  put<V = Value>(table: string, key: string, value: V, options?: WriteOptions & { ttl?: number }): Promise<Record<V>>
  patch<V = Value>(table: string, key: string, changes: Value, options?: WriteOptions): Promise<Record<V>>
  get<V = Value>(table: string, key: string, options?: { r?: Level; signal?: AbortSignal }): Promise<Record<V>>
  delete(table: string, key: string, options?: WriteOptions): Promise<void>
  touch(table: string, key: string, ttl: number): Promise<Record>
  update<V = Value>(table: string, key: string, change: (held: V | null) => V | null): Promise<Record<V> | null>
  keys(table: string, options?: { prefix?: string; after?: string; limit?: number }): Promise<string[]>
  scan(table: string, prefix?: string): AsyncIterable<string>
  getMany<V = Value>(table: string, keys: Iterable<string>): Promise<{ [key: string]: Record<V> }>
  batch(table: string, ops: Iterable<Op>): Promise<Outcome[]>
  watch<V = Value>(
    table: string, options?: { key?: string; prefix?: string; from?: string; initial?: boolean },
  ): Watch<V>
  mirror<V = Value>(table: string, prefix?: string): Mirror<V>
  presence(table: string, key: string, value: Value, options?: { ttl?: number }): Promise<Presence>
  members(): Promise<Value>
  stats(): Promise<Value>
  request(method: string, path: string, options?: {
    body?: string; headers?: { [name: string]: string }; repeatable?: boolean; signal?: AbortSignal
  }): Promise<unknown>
}

export class Watch<V = Value> implements AsyncIterableIterator<Change<V>> {
  readonly subscribed: Promise<void>
  next(): Promise<IteratorResult<Change<V>>>
  return(): Promise<IteratorResult<Change<V>>>
  [Symbol.asyncIterator](): Watch<V>
  close(): void
}

export class Mirror<V = Value> {
  readonly records: Map<string, Record<V>>
  readonly isSynced: boolean
  readonly synced: Promise<void>
  onChange(tell: (change: Change<V>) => void): () => void
  close(): void
}

export class Presence {
  readonly lost: Promise<KvError>
  update(value: Value): Promise<void>
  close(): void
}
