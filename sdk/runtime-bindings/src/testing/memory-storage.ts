import type { StorageErrorCode, StorageEntry, HostImports } from '../wit.js';

/** What an import throws: the engine's form of a WIT error case. */
export class ImportFailure<Code extends string = string> extends Error {
  constructor(readonly payload: Code) {
    super(payload);
  }
}

interface Row {
  value: Uint8Array;
  revision: bigint;
  expiresAt: number | undefined;
}

const MAX_VALUE_BYTES = 64 * 1024;
const CURSOR = /^after:(.+)$/s;

/** The storage interface over memory, with the limits and error cases of the real one. */
export class MemoryStorage {
  readonly #rows = new Map<string, Map<string, Row>>();
  readonly #now: () => number;

  /** @param now milliseconds since the epoch; decides when records with a TTL are gone */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** The interface as a component imports it. */
  readonly api: NonNullable<HostImports['storage']> = {
    get: (namespace, key) => {
      check(namespace, key);
      const row = this.#live(namespace, key);
      if (row === undefined) throw failure('missing');
      return entry(namespace, key, row);
    },
    put: (namespace, key, value, options) => {
      check(namespace, key);
      const ttl = options.ttlSeconds;
      const badTtl = ttl !== undefined && (ttl < 60 || ttl > 2_592_000);
      if (badTtl || value.length > MAX_VALUE_BYTES) throw failure('invalid');
      const old = this.#live(namespace, key);
      this.#match(old, options.condition);
      const row = {
        value: value.slice(),
        revision: (old?.revision ?? 0n) + 1n,
        expiresAt: ttl === undefined ? undefined : this.#now() + ttl * 1000,
      };
      const rows = this.#rows.get(namespace) ?? new Map<string, Row>();
      this.#rows.set(namespace, rows.set(key, row));
      return row.revision;
    },
    delete: (namespace, key, condition) => {
      check(namespace, key);
      const old = this.#live(namespace, key);
      if (old === undefined) throw failure('missing');
      this.#match(old, condition);
      this.#rows.get(namespace)?.delete(key);
    },
    listEntries: (namespace, options) => {
      check(namespace, 'any');
      const limit = options.limit ?? 25;
      const cursor = options.cursor === undefined ? undefined : CURSOR.exec(options.cursor)?.[1];
      const badCursor = options.cursor !== undefined && cursor === undefined;
      if (limit < 1 || limit > 100 || badCursor) throw failure('invalid');
      const keys = [...(this.#rows.get(namespace)?.keys() ?? [])]
        .filter((key) => key.startsWith(options.prefix ?? '') && this.#live(namespace, key))
        .filter((key) => cursor === undefined || key > cursor)
        .sort();
      const entries = keys.slice(0, limit).flatMap((key) => {
        const row = this.#live(namespace, key);
        return row === undefined ? [] : [entry(namespace, key, row)];
      });
      const last = entries.at(-1);
      return keys.length > limit && last
        ? { entries, nextCursor: `after:${last.key}` }
        : { entries };
    },
  };

  #live(namespace: string, key: string): Row | undefined {
    const row = this.#rows.get(namespace)?.get(key);
    const expired = row?.expiresAt !== undefined && row.expiresAt <= this.#now();
    return expired ? undefined : row;
  }

  #match(
    row: Row | undefined,
    condition: Parameters<NonNullable<HostImports['storage']>['delete']>[2],
  ): void {
    const held =
      condition.tag === 'always' ||
      (condition.tag === 'create-only' ? row === undefined : row?.revision === condition.val);
    if (!held) throw failure('conflict');
  }
}

function failure(code: StorageErrorCode): ImportFailure<StorageErrorCode> {
  return new ImportFailure(code);
}

function check(namespace: string, key: string): void {
  const namespaceOk = namespace.length >= 1 && namespace.length <= 128;
  const keyOk = key.length >= 1 && key.length <= 256 && !key.includes('/');
  if (!namespaceOk || !keyOk) throw failure('invalid');
}

function entry(namespace: string, key: string, row: Row): StorageEntry {
  return { namespace, key, value: row.value.slice(), revision: row.revision };
}
