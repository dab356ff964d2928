import type { HostImports, StorageEntry, WriteCondition } from '../wit.js';

type Imported = (...args: unknown[]) => unknown;

/**
 * The imports of a QuickJS component in the shapes that the library knows: absent values are
 * undefined instead of null, and the revisions of `storage` are bigint instead of number. The engine
 * ends the execution without a word when an argument has the wrong type; here that is a TypeError.
 */
export function adaptImports(raw: HostImports): HostImports {
  const adapted: Record<string, Record<string, Imported>> = {};
  for (const [name, api] of Object.entries(raw)) {
    const functions = Object.entries(api as Record<string, unknown>).filter(
      (entry): entry is [string, Imported] => typeof entry[1] === 'function',
    );
    adapted[name] = Object.fromEntries(
      functions.map(([key, call]) => [key, checked(`${name}.${key}`, call)]),
    );
  }
  const imports = adapted as HostImports;
  return imports.storage === undefined
    ? imports
    : { ...imports, storage: withRevisions(imports.storage) };
}

/** Text arguments, by function; the others are made by this library. */
const TEXTS: Record<string, number> = {
  'config.get': 1,
  'secrets.get': 1,
  'storage.get': 2,
  'storage.put': 2,
  'storage.delete': 2,
  'storage.listEntries': 1,
  'uiProxy.callRoute': 1,
};

function checked(name: string, call: Imported): Imported {
  return (...args) => {
    for (const [index, value] of args.slice(0, TEXTS[name] ?? 0).entries()) {
      if (typeof value !== 'string') {
        throw new TypeError(`${name}: argument ${index + 1} must be a string, not ${typeof value}`);
      }
    }
    return withoutNulls(call(...args));
  };
}

function withoutNulls(value: unknown): unknown {
  if (value === null) return undefined;
  if (typeof value !== 'object' || ArrayBuffer.isView(value)) return value;
  if (Array.isArray(value)) return value.map(withoutNulls);
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, withoutNulls(inner)]),
  );
}

type StorageImports = NonNullable<HostImports['storage']>;

function withRevisions(api: StorageImports): StorageImports {
  // The declared types are the library's; the engine's own are numbers.
  const toRevision = (value: bigint | number): bigint => BigInt(value);
  const entry = (one: StorageEntry): StorageEntry => ({
    ...one,
    revision: toRevision(one.revision),
  });
  const condition = (when: WriteCondition): WriteCondition =>
    when.tag === 'revision'
      ? { tag: 'revision', val: Number(when.val) as unknown as bigint }
      : when;
  return {
    get: (namespace, key) => entry(api.get(namespace, key)),
    put: (namespace, key, value, options) => {
      const put = { ...options, condition: condition(options.condition) };
      return toRevision(api.put(namespace, key, value, put));
    },
    delete: (namespace, key, when) => api.delete(namespace, key, condition(when)),
    listEntries: (namespace, options) => {
      const page = api.listEntries(namespace, options);
      return { ...page, entries: page.entries.map(entry) };
    },
  };
}

/** A request as the library knows it. */
export function adaptRequest<T>(raw: T): T {
  return withoutNulls(raw) as T;
}
