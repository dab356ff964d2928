import { ExitCode, Failure } from '../failure.js';
import type { Environment } from '../environment.js';
import type { Waiting } from '../output.js';
import { readSecretValue } from '../secret-input.js';
import { readCredentials } from './credentials.js';
import { unreachableReason } from './reason.js';

/** Where a command talks to, from its options, the environment and the credentials file. */
export interface ServerOptions {
  url?: string;
  tenant?: string;
  /** File with a token that may read source maps. */
  mapsTokenFile?: string;
}

export interface Target {
  url: string;
  /** Nobody named this server; it is only where one on this machine would be. */
  assumed?: boolean;
  token: string | undefined;
  tenant: string | undefined;
  /** Of an account that may read source maps, where that of the other requests may not. */
  mapsToken?: string | undefined;
}

export const DEFAULT_URL = 'http://127.0.0.1:8080';

/** Longest answer that is read; larger ones are a mistake or an attack. */
const MAX_ANSWER_BYTES = 256 * 1024 * 1024;
const TIMEOUT_MS = 60_000;
const IS_IT_RUNNING =
  'is the server running? Set its address with --url or ALGA_URL; alga doctor checks the connection';

export async function resolveTarget(
  environment: Environment,
  options: ServerOptions,
): Promise<Target> {
  const { variables } = environment;
  const stored = await readCredentials(environment);
  const named =
    options.url ??
    nonEmpty(variables['ALGA_URL']) ??
    nonEmpty(variables['ALGA_API_BASE_URL']) ??
    stored.current;
  const url = normalizeUrl(named ?? DEFAULT_URL);
  const known = stored.servers[url];
  return {
    url,
    assumed: named === undefined,
    token: nonEmpty(variables['ALGA_TOKEN']) ?? nonEmpty(variables['ALGA_API_KEY']) ?? known?.token,
    tenant:
      options.tenant ??
      nonEmpty(variables['ALGA_TENANT_ID']) ??
      nonEmpty(variables['ALGA_TENANT']) ??
      known?.tenant,
    mapsToken:
      options.mapsTokenFile === undefined
        ? (nonEmpty(variables['ALGA_MAPS_TOKEN']) ?? known?.maps_token)
        : await readMapsToken(environment, options.mapsTokenFile),
  };
}

function readMapsToken(environment: Environment, file: string): Promise<string> {
  const source = { file, option: '--maps-token-file' as const };
  return readSecretValue(environment, source, 'token for source maps');
}

function nonEmpty(value: string | undefined): string | undefined {
  return value === undefined || value === '' ? undefined : value;
}

/** The origin and path prefix of a server. A token never travels in clear to another machine. */
export function normalizeUrl(text: string): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new Failure('server.bad_url', `"${text}" is not a URL`, {
      hint: 'for example: --url https://extensions.example.com',
      exitCode: ExitCode.Usage,
    });
  }
  if (!['http:', 'https:'].includes(url.protocol)) {
    throw new Failure('server.bad_url', `"${text}" is no address of a server`, {
      hint: 'for example: --url https://extensions.example.com',
      exitCode: ExitCode.Usage,
    });
  }
  const loopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && loopback)) {
    throw new Failure('server.insecure_url', `${url.origin} would see the token in clear`, {
      hint: 'use https; plain http is for servers on this machine only',
      exitCode: ExitCode.Usage,
    });
  }
  if (url.username !== '' || url.password !== '') {
    throw new Failure('server.bad_url', 'The URL must not contain a user name or password', {
      hint: 'log in with a token: alga login --url https://…',
      exitCode: ExitCode.Usage,
    });
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}

export interface RequestOptions {
  method?: string;
  /** Sent as JSON. */
  json?: unknown;
  body?: Uint8Array;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** For answers that go on for ever. */
  noTimeout?: boolean;
}

/** Speaks to one server as one account. */
export class ApiClient {
  readonly #target: Target;
  readonly #output: Waiting | undefined;

  /** @param output tells people that an answer takes long; without one nobody is told */
  constructor(target: Target, output?: Waiting) {
    this.#target = target;
    this.#output = output;
  }

  get url(): string {
    return this.#target.url;
  }

  get tenant(): string | undefined {
    return this.#target.tenant;
  }

  /** A client of the same server with the account for source maps, where there is one. */
  forMaps(): ApiClient | undefined {
    const { mapsToken: token, ...target } = this.#target;
    if (token === undefined) return undefined;
    // The registry is no tenant's, and a publisher may name none.
    return new ApiClient({ ...target, token, tenant: undefined }, this.#output);
  }

  /** A request that must succeed; the answer's JSON, or undefined for an empty one. */
  async json<T>(path: string, options: RequestOptions = {}): Promise<T> {
    const { response, text } = await this.#waiting(async () => {
      const answer = await this.#send(path, options);
      return { response: answer, text: await readText(answer) };
    });
    if (!response.ok) throw this.#refusal(response, text);
    if (text === '') return undefined as T;
    try {
      return JSON.parse(text) as T;
    } catch {
      throw new Failure('server.not_json', `${this.url}${path} did not answer with JSON`, {
        hint: 'check --url: is this an algad server?',
        exitCode: ExitCode.Server,
      });
    }
  }

  /** A request that must succeed; its answer goes on, and is read by the caller. */
  async stream(path: string, options: RequestOptions = {}): Promise<AsyncIterable<Uint8Array>> {
    const response = await this.send(path, { ...options, noTimeout: true });
    if (!response.ok) throw this.#refusal(response, await readText(response));
    return (response.body ?? []) as AsyncIterable<Uint8Array>;
  }

  /** A request whose answer may be anything. */
  send(path: string, options: RequestOptions = {}): Promise<Response> {
    return this.#waiting(() => this.#send(path, options));
  }

  #waiting<T>(work: () => Promise<T>): Promise<T> {
    const label = `Waiting for ${this.url}`;
    return this.#output === undefined ? work() : this.#output.during(label, work, { quick: true });
  }

  async #send(path: string, options: RequestOptions): Promise<Response> {
    const { token, tenant, url } = this.#target;
    assertSendable(token, tenant);
    const headers = new Headers(options.headers);
    if (token !== undefined) headers.set('authorization', `Bearer ${token}`);
    if (tenant !== undefined && !headers.has('x-tenant-id')) headers.set('x-tenant-id', tenant);
    if (options.json !== undefined) headers.set('content-type', 'application/json');
    const body =
      options.json === undefined
        ? options.body && new Uint8Array(options.body)
        : JSON.stringify(options.json);
    const signals = [
      ...(options.signal === undefined ? [] : [options.signal]),
      ...(options.noTimeout === true ? [] : [AbortSignal.timeout(TIMEOUT_MS)]),
    ];
    try {
      return await fetch(`${url}${path}`, {
        method: options.method ?? 'GET',
        headers,
        redirect: 'manual',
        signal: AbortSignal.any(signals),
        ...(body === undefined ? {} : { body }),
      });
    } catch (cause) {
      if (options.signal?.aborted === true) throw cause;
      const { text, hint = IS_IT_RUNNING } = unreachableReason(cause, TIMEOUT_MS / 1000);
      throw new Failure('server.unreachable', `Cannot reach ${url}: ${text}`, {
        hint:
          this.#target.assumed === true
            ? 'no server was named: log in with alga login --url https://…, or set ALGA_URL'
            : hint,
        exitCode: ExitCode.Server,
        cause,
      });
    }
  }

  /** The server's own words about why it refused. */
  #refusal(response: Response, text: string): Failure {
    const { status } = response;
    const error = serverError(text);
    const denied = status === 401 || status === 403;
    const message = [
      error.message ?? `the server answered ${status}`,
      ...issues(error.issues),
    ].join('\n  - ');
    const hint = HINTS_BY_CODE[error.code ?? ''] ?? HINTS[status];
    return new Failure(error.code ?? `server.http_${status}`, message, {
      exitCode: denied ? ExitCode.Denied : ExitCode.Server,
      ...(hint === undefined ? {} : { hint }),
      details: {
        status,
        request_id: error.request_id ?? response.headers.get('x-request-id'),
        ...(error.issues === undefined ? {} : { issues: error.issues }),
        ...(error.details === undefined ? {} : { details: error.details }),
      },
    });
  }
}

/** The words of the platform about what no header can hold would show the token. */
function assertSendable(token = '', tenant = ''): void {
  if (!/^[\x21-\x7e]*$/.test(token)) {
    throw new Failure(
      'credentials.bad_token',
      'The token holds white space or other characters that no token has',
      {
        hint: 'copy it again, as one line; it comes from ALGA_TOKEN, ALGA_API_KEY, --token-file or alga login',
        exitCode: ExitCode.Denied,
      },
    );
  }
  if (!/^[\x20-\x7e]*$/.test(tenant)) {
    throw new Failure('usage.tenant', `${JSON.stringify(tenant)} is no tenant`, {
      hint: 'a tenant is named by its id: --tenant or ALGA_TENANT_ID',
      exitCode: ExitCode.Usage,
    });
  }
}

/** What an author cannot do alone: the command is for whoever operates the server. */
const HINTS_BY_CODE: Record<string, string | undefined> = {
  PUBLISHER_NOT_FOUND: 'an operator makes it: algad admin publishers create --name PUBLISHER',
  SIGNATURE_INVALID:
    'an operator registers the public half of your key: ' +
    'algad admin publisher-keys add PUBLISHER --public-key KEY',
  SIGNATURE_REQUIRED:
    'make a key with alga keygen, have its public half registered, and publish with --key FILE',
  EXTENSION_VERSION_ALREADY_EXISTS: 'raise "version" in manifest.json and publish again',
  COMPILE_FAILED:
    'a busy server may need a second try; a smaller component compiles faster (alga build --engine auto)',
  'install.exists':
    'alga update moves the install to another version; alga grant changes what it may do',
  'extension.not_found': 'alga list shows what there is; alga publish adds an extension',
  'request.tenant_missing':
    'this account sees several tenants: name one with --tenant or ALGA_TENANT_ID',
  'tenant.not_found': 'an operator makes it: algad admin tenants create --id TENANT --name NAME',
};

const HINTS: Record<number, string | undefined> = {
  401: 'log in with alga login, or set ALGA_TOKEN',
  403: 'this account may not do that; alga login shows who you are',
  404: 'alga list shows what there is',
  429: 'wait a moment and try again',
  503: 'the server is busy or starting: wait a moment and try again',
};

interface ServerError {
  code?: string;
  message?: string;
  request_id?: string;
  issues?: unknown;
  details?: unknown;
}

/** `{error:{code,message,…}}` of our own routes, `{error:"…",code}` of the compatible ones. */
function serverError(text: string): ServerError {
  try {
    const value = JSON.parse(text) as { error?: unknown; code?: unknown } | null;
    const error = value?.error;
    if (typeof error === 'string') {
      return typeof value?.code === 'string'
        ? { code: value.code, message: error }
        : { message: error };
    }
    return typeof error === 'object' && error !== null ? error : {};
  } catch {
    return {};
  }
}

/** What is wrong in particular, where the server lists it. */
function issues(value: unknown): string[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((issue: { message?: unknown } | null) =>
    typeof issue?.message === 'string' ? [issue.message] : [],
  );
}

async function readText(response: Response): Promise<string> {
  if (response.body === null) return '';
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES) {
      throw new Failure('server.answer_too_large', 'The answer of the server is too large', {
        exitCode: ExitCode.Server,
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
