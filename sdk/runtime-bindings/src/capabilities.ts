import {
  callHost,
  ConfigError,
  located,
  ProxyError,
  SecretError,
  StorageError,
  UserError,
} from './errors.js';
import { createFetch, type Fetch } from './fetch.js';
import type {
  ContextData,
  HostImports,
  LogLevel,
  StorageEntry,
  StoragePage,
  UserData,
  WriteCondition,
} from './wit.js';

/** Identity of this execution, and the time it has left. */
export interface ExecutionContext extends Readonly<ContextData> {
  /** Milliseconds of wall-clock time before the host ends this execution. */
  remainingTimeMs(): number;
}

export interface Config {
  /** The value of `key`, or undefined when the install does not set it. Throws ConfigError. */
  get(key: string): Promise<string | undefined>;
  /** The value of `key`; throws ConfigError `missing` when the install does not set it. */
  require(key: string): Promise<string>;
  /** All keys and values, sorted by key. */
  entries(): Promise<Record<string, string>>;
}

export interface Secrets {
  /** The value of the secret. Throws SecretError. Never log or return it. */
  get(key: string): Promise<string>;
  /** Names of the secrets that are set, sorted. */
  list(): Promise<string[]>;
}

export interface Http {
  fetch: Fetch;
}

export interface WriteOptions {
  /** Write only when no record exists, or only when it has this revision. */
  when?: 'absent' | { revision: bigint };
  /** Seconds until the record disappears: 60 to 2,592,000. */
  ttlSeconds?: number;
}

export interface ListOptions {
  prefix?: string;
  /** `nextCursor` of the previous page. */
  cursor?: string;
  /** Records per page: 1 to 100, default 25. */
  limit?: number;
}

/** Durable records of the install. Failures are StorageError. */
export interface Storage {
  /** The record, or undefined when there is none. */
  get(namespace: string, key: string): Promise<StorageEntry | undefined>;
  /** Writes and returns the new revision; revisions start at 1. Text is stored as UTF-8. */
  put(
    namespace: string,
    key: string,
    value: Uint8Array | string,
    options?: WriteOptions,
  ): Promise<bigint>;
  /** True when a record was deleted, false when there was none. */
  delete(namespace: string, key: string, options?: Pick<WriteOptions, 'when'>): Promise<boolean>;
  list(namespace: string, options?: ListOptions): Promise<StoragePage>;
}

/** Lines in the tenant's log. `fields` are appended as JSON. */
export type Log = Record<LogLevel, (message: string, fields?: Record<string, unknown>) => void>;

export interface Ui {
  /** Calls a route of the host application: POST with a payload, GET without. Throws ProxyError. */
  call(route: string, payload?: Uint8Array): Promise<Uint8Array>;
  /** The same with JSON both ways; an empty answer is undefined. */
  callJson<T = unknown>(route: string, payload?: unknown): Promise<T | undefined>;
}

export interface User {
  /** The user on whose behalf the extension runs. Throws UserError. */
  get(): Promise<UserData>;
}

/** What a handler may use. Each call is checked by the host against what the install was granted. */
export interface Capabilities {
  context: ExecutionContext;
  config: Config;
  secrets: Secrets;
  http: Http;
  storage: Storage;
  log: Log;
  ui: Ui;
  user: User;
}

const encoder = new TextEncoder();

/** Wraps the imported interfaces. `identity` comes with the request and costs no host call. */
export function createCapabilities(imports: HostImports, identity: ContextData): Capabilities {
  return {
    context: {
      ...identity,
      remainingTimeMs: () => imports.context?.remainingTimeMs() ?? 0,
    },
    config: createConfig(imports.config),
    secrets: createSecrets(imports.secrets),
    http: { fetch: createFetch(imports.http) },
    storage: createStorage(imports.storage),
    log: createLog(imports.logging),
    ui: createUi(imports.uiProxy),
    user: {
      get: async () => {
        const site = new Error();
        return callHost(imports.user, 'user', 'user.get', UserError, site, (api) => api.getUser());
      },
    },
  };
}

function createConfig(api: HostImports['config']): Config {
  const read = (key: string, site: Error): string | undefined =>
    callHost(api, 'config', `config.get ${key}`, ConfigError, site, (host) => host.get(key));
  return {
    get: async (key) => read(key, new Error()),
    require: async (key) => {
      const site = new Error();
      const value = read(key, site);
      if (value !== undefined) return value;
      const message = `config.require ${key}: the install does not set it (alga config set … ${key}=…, or "config" in alga.dev.json)`;
      throw located(new ConfigError('missing', message), site);
    },
    entries: async () => {
      const site = new Error();
      return Object.fromEntries(
        callHost(api, 'config', 'config.entries', ConfigError, site, (host) => host.entries()),
      );
    },
  };
}

function createSecrets(api: HostImports['secrets']): Secrets {
  return {
    get: async (key) => {
      const site = new Error();
      const operation = `secrets.get ${key}`;
      return callHost(api, 'secrets', operation, SecretError, site, (host) => host.get(key));
    },
    list: async () => {
      const site = new Error();
      return callHost(api, 'secrets', 'secrets.list', SecretError, site, (host) => host.listKeys());
    },
  };
}

function condition(when: WriteOptions['when']): WriteCondition {
  if (when === undefined) return { tag: 'always' };
  return when === 'absent' ? { tag: 'create-only' } : { tag: 'revision', val: when.revision };
}

function createStorage(api: HostImports['storage']): Storage {
  type Host = NonNullable<typeof api>;
  const call = <R>(operation: string, site: Error, run: (host: Host) => R): R =>
    callHost(api, 'storage', `storage.${operation}`, StorageError, site, run);
  const missing = (error: unknown): boolean =>
    error instanceof StorageError && error.code === 'missing';
  return {
    get: async (namespace, key) => {
      const site = new Error();
      try {
        return call(`get ${namespace}/${key}`, site, (host) => host.get(namespace, key));
      } catch (error) {
        if (missing(error)) return undefined;
        throw error;
      }
    },
    put: async (namespace, key, value, options = {}) => {
      const site = new Error();
      const data = typeof value === 'string' ? encoder.encode(value) : value;
      const put = { condition: condition(options.when) };
      const ttl = options.ttlSeconds === undefined ? {} : { ttlSeconds: options.ttlSeconds };
      return call(`put ${namespace}/${key}`, site, (host) =>
        host.put(namespace, key, data, { ...put, ...ttl }),
      );
    },
    delete: async (namespace, key, options = {}) => {
      const site = new Error();
      try {
        call(`delete ${namespace}/${key}`, site, (host) =>
          host.delete(namespace, key, condition(options.when)),
        );
        return true;
      } catch (error) {
        if (missing(error)) return false;
        throw error;
      }
    },
    list: async (namespace, options = {}) => {
      const site = new Error();
      return call(`list ${namespace}`, site, (host) => host.listEntries(namespace, options));
    },
  };
}

export function createLog(api: HostImports['logging']): Log {
  const line =
    (level: LogLevel) =>
    (message: string, fields?: Record<string, unknown>): void => {
      api?.log(level, fields === undefined ? message : `${message} ${JSON.stringify(fields)}`);
    };
  return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
}

function createUi(api: HostImports['uiProxy']): Ui {
  const call = (route: string, payload: Uint8Array | undefined, site: Error): Uint8Array =>
    callHost(api, 'ui-proxy', `ui.call ${route}`, ProxyError, site, (host) =>
      host.callRoute(route, payload),
    );
  return {
    call: async (route, payload) => call(route, payload, new Error()),
    callJson: async <T>(route: string, payload?: unknown) => {
      const site = new Error();
      const body = payload === undefined ? undefined : encoder.encode(JSON.stringify(payload));
      const answer = call(route, body, site);
      return answer.length === 0 ? undefined : (JSON.parse(new TextDecoder().decode(answer)) as T);
    },
  };
}
