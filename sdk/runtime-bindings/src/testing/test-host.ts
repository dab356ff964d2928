import { assertHandler, execute } from '../execute.js';
import type { InterfaceName } from '../generated/capabilities.js';
import type {
  ConfigErrorCode,
  ContextData,
  ExecuteRequest,
  ExecuteResponse,
  HostImports,
  HttpErrorCode,
  HttpRequest,
  HttpResponse,
  LogLevel,
  ProxyErrorCode,
  SecretErrorCode,
  StorageErrorCode,
  UserData,
  UserErrorCode,
} from '../wit.js';
import { withFixedTime } from './fixed-time.js';
import { ImportFailure, MemoryStorage } from './memory-storage.js';

/** The errors that each interface can answer with. */
export interface ErrorCodes {
  config: ConfigErrorCode;
  secrets: SecretErrorCode;
  http: HttpErrorCode;
  storage: StorageErrorCode;
  'ui-proxy': ProxyErrorCode;
  user: UserErrorCode;
}

/** One host call that the extension made, in order. */
export interface RecordedCall {
  interface: InterfaceName;
  operation: string;
  args: readonly unknown[];
  /** The error case, when the host refused. */
  error?: string;
}

/** What an upstream answers in a test; a plain object is turned into JSON. */
export interface Reply {
  status?: number;
  headers?: Record<string, string>;
  json?: unknown;
  body?: string | Uint8Array;
}

export type Upstream = (request: HttpRequest) => Reply | HttpErrorCode;

export interface TestHostOptions {
  config?: Record<string, string>;
  secrets?: Record<string, string>;
  user?: Partial<UserData>;
  context?: Partial<ContextData>;
  /** Time that `Date` shows while a handler runs, and that ages stored records. */
  now?: Date | string | number;
  /** Answers to `http.fetch`; an unknown URL answers `not-allowed`, as an empty egress policy does. */
  upstreams?: Record<string, Upstream | Reply>;
  /** Answers of the host application's routes. */
  routes?: Record<string, (payload: Uint8Array | undefined) => unknown>;
  /** Interfaces that are not declared in the manifest: calls fail as they would in production. */
  undeclared?: readonly InterfaceName[];
}

export interface TestRequest {
  method?: string;
  /** Path and query; `/` when left out. */
  path?: string;
  headers?: Record<string, string>;
  json?: unknown;
  body?: string | Uint8Array;
}

/** The answer of a handler, with readers for its body. */
export class TestResponse {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly raw: ExecuteResponse;
  /** What the handler threw, when the answer is the 500 (or 400) for an uncaught error. */
  readonly uncaught: unknown;

  constructor(raw: ExecuteResponse, uncaught: unknown) {
    this.raw = raw;
    this.status = raw.status;
    this.headers = new Map(raw.headers.map(({ name, value }) => [name.toLowerCase(), value]));
    this.uncaught = uncaught;
  }

  bytes(): Uint8Array {
    return this.raw.body ?? new Uint8Array();
  }

  text(): string {
    return new TextDecoder().decode(this.bytes());
  }

  json<T = unknown>(): T {
    return JSON.parse(this.text()) as T;
  }
}

interface Fault {
  interface: InterfaceName;
  code: string;
  remaining: number;
}

/**
 * A host in memory: runs a handler the way the component does and remembers what it did.
 *
 *     const host = new TestHost({ secrets: { alga_api_key: 'k' } });
 *     const response = await host.call(extension, { path: '/tickets' });
 */
export class TestHost {
  /** Host calls in order, log lines left out. */
  readonly calls: RecordedCall[] = [];
  readonly logs: { level: LogLevel; message: string }[] = [];
  readonly config: Record<string, string>;
  readonly secrets: Record<string, string>;
  /** The imports as a component sees them. */
  readonly imports: HostImports;

  readonly #options: TestHostOptions;
  readonly #faults: Fault[] = [];
  readonly #upstreams: Record<string, Upstream | Reply>;
  readonly #storage = new MemoryStorage(() => this.now());
  #rotation: { name: string; value: string } | undefined;
  #now: number | undefined;
  #requests = 0;

  constructor(options: TestHostOptions = {}) {
    this.#options = options;
    this.#now = options.now === undefined ? undefined : new Date(options.now).getTime();
    if (Number.isNaN(this.#now)) throw new TypeError(`Not a time: ${String(options.now)}`);
    this.config = { ...options.config };
    this.secrets = { ...options.secrets };
    this.#upstreams = { ...options.upstreams };
    this.imports = this.#createImports();
  }

  /** Milliseconds since the epoch, as the extension sees them. */
  now(): number {
    return this.#now ?? Date.now();
  }

  /** Moves a fixed time forward. */
  advance(milliseconds: number): void {
    if (this.#now === undefined) throw new Error('advance() needs the option "now"');
    this.#now += milliseconds;
  }

  /** Sets the answer for a URL (exact, or ending in `*`). */
  reply(url: string, upstream: Upstream | Reply): void {
    this.#upstreams[url] = upstream;
  }

  /** Makes the next `times` calls to an interface fail with one of its error cases. */
  fail<Name extends keyof ErrorCodes>(name: Name, code: ErrorCodes[Name], times = 1): void {
    this.#faults.push({ interface: name, code, remaining: times });
  }

  /** Replaces a secret right after it is read for the first time: a rotation in mid-call. */
  rotateSecretAfterRead(name: string, value: string): void {
    this.#rotation = { name, value };
  }

  /** The calls made to one interface. */
  callsTo(name: InterfaceName): RecordedCall[] {
    return this.calls.filter((call) => call.interface === name);
  }

  /** Runs the handler for one request. Never rejects for what the handler throws. */
  async call(exported: unknown, request: TestRequest = {}): Promise<TestResponse> {
    assertHandler(exported);
    let uncaught: unknown;
    const run = () =>
      execute(exported, this.#request(request), this.imports, (thrown) => {
        uncaught = thrown;
      });
    const raw = this.#now === undefined ? await run() : await withFixedTime(() => this.now(), run);
    return new TestResponse(raw, uncaught);
  }

  #request(request: TestRequest): ExecuteRequest {
    const headers = Object.entries(request.headers ?? {}).map(([name, value]) => ({
      name: name.toLowerCase(),
      value,
    }));
    let body: Uint8Array | undefined;
    if (request.json !== undefined) {
      body = new TextEncoder().encode(JSON.stringify(request.json));
      headers.push({ name: 'content-type', value: 'application/json' });
    } else if (request.body !== undefined) {
      body = encode(request.body);
    }
    const method = request.method ?? (body === undefined ? 'GET' : 'POST');
    const http = { method, url: request.path ?? '/', headers };
    return { context: this.#context(), http: body === undefined ? http : { ...http, body } };
  }

  #context(): ContextData {
    this.#requests += 1;
    return {
      requestId: `test-request-${this.#requests}`,
      tenantId: 'test-tenant',
      extensionId: 'test-extension',
      installId: 'test-install',
      versionId: 'test-version',
      ...this.#options.context,
    };
  }

  #createImports(): HostImports {
    const spy = <Args extends unknown[], R>(
      name: InterfaceName,
      operation: string,
      run: (...args: Args) => R,
    ) => {
      return (...args: Args): R => {
        const call: RecordedCall = { interface: name, operation, args };
        this.calls.push(call);
        try {
          const fault = this.#faults.find((f) => f.interface === name && f.remaining > 0);
          if (fault !== undefined) {
            fault.remaining -= 1;
            throw new ImportFailure(fault.code);
          }
          return run(...args);
        } catch (error) {
          if (error instanceof ImportFailure) call.error = String(error.payload);
          throw error;
        }
      };
    };
    const storage = this.#storage.api;
    const all: Required<HostImports> = {
      context: {
        getContext: spy('context', 'get-context', () => this.#context()),
        remainingTimeMs: () => 30_000,
      },
      config: {
        get: spy('config', 'get', (key: string) => this.config[key]),
        entries: spy('config', 'entries', () => sorted(Object.entries(this.config))),
      },
      secrets: {
        get: spy('secrets', 'get', (key: string) => this.#readSecret(key)),
        listKeys: spy('secrets', 'list-keys', () => Object.keys(this.secrets).sort()),
      },
      http: { fetch: spy('http', 'fetch', (request: HttpRequest) => this.#fetch(request)) },
      storage: {
        get: spy('storage', 'get', storage.get),
        put: spy('storage', 'put', storage.put),
        delete: spy('storage', 'delete', storage.delete),
        listEntries: spy('storage', 'list-entries', storage.listEntries),
      },
      logging: { log: (level, message) => void this.logs.push({ level, message }) },
      uiProxy: {
        callRoute: spy('ui-proxy', 'call-route', (route: string, payload?: Uint8Array) =>
          this.#callRoute(route, payload),
        ),
      },
      user: { getUser: spy('user', 'get-user', () => this.#user()) },
    };
    const undeclared = new Set<string>(this.#options.undeclared);
    const keep = ([key]: [string, unknown]) =>
      !undeclared.has(key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`));
    return Object.fromEntries(Object.entries(all).filter(keep));
  }

  #readSecret(key: string): string {
    const value = Object.hasOwn(this.secrets, key) ? this.secrets[key] : undefined;
    if (value === undefined) throw new ImportFailure('missing');
    if (this.#rotation?.name === key) {
      this.secrets[key] = this.#rotation.value;
      this.#rotation = undefined;
    }
    return value;
  }

  #fetch(request: HttpRequest): HttpResponse {
    const upstream = lookUp(this.#upstreams, request.url);
    if (upstream === undefined) throw new ImportFailure('not-allowed');
    const reply = typeof upstream === 'function' ? upstream(request) : upstream;
    if (typeof reply === 'string') throw new ImportFailure(reply);
    const headers = Object.entries(reply.headers ?? {}).map(([name, value]) => ({ name, value }));
    if (reply.json !== undefined) headers.push({ name: 'content-type', value: 'application/json' });
    const body = encode(reply.json === undefined ? (reply.body ?? '') : JSON.stringify(reply.json));
    return { status: reply.status ?? 200, headers, body };
  }

  #callRoute(route: string, payload: Uint8Array | undefined): Uint8Array {
    const answer = this.#options.routes?.[route];
    if (answer === undefined) throw new ImportFailure('route-not-found');
    const value = answer(payload);
    if (value instanceof Uint8Array) return value;
    const text = JSON.stringify(value) as string | undefined;
    return encode(text ?? '');
  }

  #user(): UserData {
    if (this.#options.user === undefined) throw new ImportFailure('not-available');
    return {
      tenantId: 'test-tenant',
      clientName: 'Test Client',
      userId: 'test-user',
      userEmail: 'user@example.test',
      userName: 'Test User',
      userType: 'internal',
      additionalFields: [],
      ...this.#options.user,
    };
  }
}

function lookUp<T>(table: Record<string, T>, url: string): T | undefined {
  if (Object.hasOwn(table, url)) return table[url];
  const wildcard = Object.keys(table)
    .filter((key) => key.endsWith('*') && url.startsWith(key.slice(0, -1)))
    .sort((a, b) => b.length - a.length)[0];
  return wildcard === undefined ? undefined : table[wildcard];
}

function encode(value: string | Uint8Array): Uint8Array {
  return typeof value === 'string' ? new TextEncoder().encode(value) : value;
}

function sorted(entries: [string, string][]): [string, string][] {
  return entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}
