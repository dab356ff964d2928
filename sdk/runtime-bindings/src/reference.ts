import { callHost, HttpError, ProxyError, SecretError, StorageError, UserError } from './errors.js';
import { json } from './response.js';
import type {
  ContextData,
  ExecuteRequest,
  ExecuteResponse,
  HostImports,
  HttpRequest,
  HttpResponse,
  StorageEntry,
  UserData,
} from './wit.js';

/**
 * The two-argument style of the reference's runtime package, for code that was written for it:
 *
 *     export const handler: Handler = async (request, host) => jsonResponse({ … });
 *
 * New code uses `handler()` of this package.
 */
export type Handler = (
  request: ExecuteRequest,
  host: HostBindings,
) => ExecuteResponse | Promise<ExecuteResponse>;

export interface UiProxyHost {
  callRoute(route: string, payload?: Uint8Array | null): Promise<Uint8Array>;
  call?(route: string, payload?: Uint8Array | null): Promise<Uint8Array>;
}

/** The record as the reference's storage interface shows it. */
export interface ReferenceStorageEntry {
  namespace: string;
  key: string;
  value: Uint8Array;
  revision?: bigint | null;
}

export interface HostBindings {
  context: { get(): Promise<ContextData & { config?: Record<string, string> }> };
  secrets: { get(key: string): Promise<string>; list(): Promise<string[]> };
  http: { fetch(request: HttpRequest): Promise<HttpResponse> };
  storage: {
    get(namespace: string, key: string): Promise<ReferenceStorageEntry | null>;
    put(entry: ReferenceStorageEntry): Promise<ReferenceStorageEntry>;
    delete(namespace: string, key: string): Promise<void>;
    list(namespace: string, cursor?: string | null): Promise<ReferenceStorageEntry[]>;
  };
  logging: Record<'info' | 'warn' | 'error', (message: string) => Promise<void>>;
  uiProxy: UiProxyHost;
  user: { getUser(): Promise<UserData> };
  scheduler: UnofferedHost;
  invoicing: UnofferedHost;
  clients: UnofferedHost;
  services: UnofferedHost;
}

/** Interfaces of the reference's application that this runtime links and always denies. */
export type UnofferedHost = Readonly<Record<string, (...args: unknown[]) => Promise<never>>>;

function unoffered(name: string): UnofferedHost {
  return new Proxy(
    {},
    {
      get: (_target, member) =>
        typeof member === 'symbol' || member === 'then'
          ? undefined
          : () =>
              Promise.reject(new Error(`${name}.${member}: denied (this host does not offer it)`)),
    },
  );
}

/** Presents the imported interfaces in the reference's shape. */
export function createHostBindings(imports: HostImports, identity: ContextData): HostBindings {
  const storage = imports.storage;
  const callRoute = async (route: string, payload?: Uint8Array | null): Promise<Uint8Array> => {
    const site = new Error();
    return callHost(imports.uiProxy, 'ui-proxy', `uiProxy ${route}`, ProxyError, site, (api) =>
      api.callRoute(route, payload ?? undefined),
    );
  };
  const line = (level: 'info' | 'warn' | 'error') => async (message: string) =>
    imports.logging?.log(level, message);
  return {
    context: {
      get: async () => {
        const config = imports.config;
        return config === undefined
          ? { ...identity }
          : { ...identity, config: Object.fromEntries(config.entries()) };
      },
    },
    secrets: {
      get: async (key) => {
        const site = new Error();
        return callHost(
          imports.secrets,
          'secrets',
          `secrets.get ${key}`,
          SecretError,
          site,
          (api) => api.get(key),
        );
      },
      list: async () => {
        const site = new Error();
        return callHost(imports.secrets, 'secrets', 'secrets.list', SecretError, site, (api) =>
          api.listKeys(),
        );
      },
    },
    http: {
      fetch: async (request) => {
        const site = new Error();
        const operation = `http.fetch ${request.method} ${request.url.replace(/[?#].*$/s, '')}`;
        return callHost(imports.http, 'http', operation, HttpError, site, (api) =>
          api.fetch(request),
        );
      },
    },
    storage: createReferenceStorage(storage),
    logging: { info: line('info'), warn: line('warn'), error: line('error') },
    uiProxy: { callRoute, call: callRoute },
    user: {
      getUser: async () => {
        const site = new Error();
        return callHost(imports.user, 'user', 'user.getUser', UserError, site, (api) =>
          api.getUser(),
        );
      },
    },
    scheduler: unoffered('scheduler'),
    invoicing: unoffered('invoicing'),
    clients: unoffered('clients'),
    services: unoffered('services'),
  };
}

function createReferenceStorage(imported: HostImports['storage']): HostBindings['storage'] {
  type Host = NonNullable<typeof imported>;
  const call = <R>(operation: string, site: Error, run: (host: Host) => R): R =>
    callHost(imported, 'storage', `storage.${operation}`, StorageError, site, run);
  return {
    get: async (namespace, key) => {
      const site = new Error();
      try {
        return call(`get ${namespace}/${key}`, site, (host) => host.get(namespace, key));
      } catch (error) {
        if (error instanceof StorageError && error.code === 'missing') return null;
        throw error;
      }
    },
    put: async (entry) => {
      const site = new Error();
      const { namespace, key, value, revision } = entry;
      const condition =
        revision === undefined || revision === null
          ? ({ tag: 'always' } as const)
          : ({ tag: 'revision', val: revision } as const);
      const written = call(`put ${namespace}/${key}`, site, (host) =>
        host.put(namespace, key, value, { condition }),
      );
      return { ...entry, revision: written };
    },
    delete: async (namespace, key) => {
      const site = new Error();
      call(`delete ${namespace}/${key}`, site, (host) =>
        host.delete(namespace, key, { tag: 'always' }),
      );
    },
    list: async (namespace, cursor) => {
      const site = new Error();
      const entries: StorageEntry[] = [];
      let next = cursor ?? undefined;
      do {
        const options = next === undefined ? { limit: 100 } : { limit: 100, cursor: next };
        const page = call(`list ${namespace}`, site, (host) =>
          host.listEntries(namespace, options),
        );
        entries.push(...page.entries);
        next = page.nextCursor;
      } while (next !== undefined);
      return entries;
    },
  };
}

/** JSON with a status and headers, as the reference's helper of this name. */
export function jsonResponse(
  body: unknown,
  init: { status?: number; headers?: Record<string, string> } = {},
): ExecuteResponse {
  return json(body, init);
}

export function emptyResponse(status = 204): ExecuteResponse {
  return { status, headers: [] };
}

/** User data of any revision of the reference's interface, in one shape. */
export function normalizeUserData(raw: unknown): UserData {
  if (typeof raw !== 'object' || raw === null) throw new TypeError('User data must be an object');
  const fields = raw as Record<string, unknown>;
  const read = (...names: string[]): string => {
    for (const name of names) if (typeof fields[name] === 'string') return fields[name];
    return '';
  };
  const extra = fields['additionalFields'] ?? fields['additional_fields'];
  const pairs: [string, string][] = Array.isArray(extra)
    ? (extra as [string, string][])
    : Object.entries((extra ?? {}) as Record<string, string>);
  const clientId = read('clientId', 'client_id');
  return {
    tenantId: read('tenantId', 'tenant_id'),
    clientName: read('clientName', 'client_name', 'companyName', 'company_name'),
    userId: read('userId', 'user_id'),
    userEmail: read('userEmail', 'user_email'),
    userName: read('userName', 'user_name'),
    userType: read('userType', 'user_type'),
    ...(clientId === '' ? {} : { clientId }),
    additionalFields: pairs
      .map(([name, value]): [string, string] => [name, value])
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)),
  };
}

/** Encodes JSON, calls a route of the host application, decodes the JSON answer. */
export async function callProxyJson<T = unknown>(
  uiProxy: UiProxyHost,
  route: string,
  options: { body?: unknown } = {},
): Promise<T> {
  const payload =
    options.body === undefined ? undefined : new TextEncoder().encode(JSON.stringify(options.body));
  const answer = await uiProxy.callRoute(route, payload);
  return (answer.length === 0 ? null : JSON.parse(new TextDecoder().decode(answer))) as T;
}
