import type { Storage, WriteOptions } from '../capabilities.js';
import { StorageError } from '../errors.js';
import type { StorageEntry } from '../wit.js';

/** A stored JSON value with the revision it was read at. */
export interface JsonRecord<T> {
  value: T;
  revision: bigint;
}

/**
 * Reads a record that holds JSON; undefined when there is none. The type is the caller's claim.
 * Throws a SyntaxError when the record is not JSON.
 */
export async function getJson<T>(
  storage: Storage,
  namespace: string,
  key: string,
): Promise<JsonRecord<T> | undefined> {
  const entry = await storage.get(namespace, key);
  if (entry === undefined) return undefined;
  const value = JSON.parse(new TextDecoder().decode(entry.value)) as T;
  return { value, revision: entry.revision };
}

/** Writes a value as JSON and returns the new revision. */
export async function putJson(
  storage: Storage,
  namespace: string,
  key: string,
  value: unknown,
  options?: WriteOptions,
): Promise<bigint> {
  const text = JSON.stringify(value) as string | undefined;
  if (text === undefined) throw new TypeError('putJson(): the value has no JSON form');
  return storage.put(namespace, key, text, options);
}

/**
 * Compare-and-set: reads, lets `change` make the new value, writes if nobody wrote in between, and
 * starts over if somebody did. `change` may run several times and must not have side effects.
 *
 * @param attempts how often to try before the StorageError `conflict` of the last try is thrown
 */
export async function updateJson<T>(
  storage: Storage,
  namespace: string,
  key: string,
  change: (current: T | undefined) => T,
  attempts = 10,
): Promise<JsonRecord<T>> {
  for (let attempt = 1; ; attempt += 1) {
    const current = await getJson<T>(storage, namespace, key);
    const value = change(current?.value);
    const when = current === undefined ? 'absent' : { revision: current.revision };
    try {
      return { value, revision: await putJson(storage, namespace, key, value, { when }) };
    } catch (error) {
      const conflict = error instanceof StorageError && error.code === 'conflict';
      if (!conflict || attempt >= attempts) throw error;
    }
  }
}

/** All records of a namespace, page by page. */
export async function* iterate(
  storage: Storage,
  namespace: string,
  options: { prefix?: string; pageSize?: number } = {},
): AsyncGenerator<StorageEntry, void, undefined> {
  const { prefix, pageSize: limit = 100 } = options;
  let cursor: string | undefined;
  do {
    const page = await storage.list(namespace, {
      limit,
      ...(prefix === undefined ? {} : { prefix }),
      ...(cursor === undefined ? {} : { cursor }),
    });
    yield* page.entries;
    cursor = page.nextCursor;
  } while (cursor !== undefined);
}
