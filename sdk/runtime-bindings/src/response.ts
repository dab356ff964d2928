import type { ExecuteResponse, HttpHeader } from './wit.js';

/** What a handler may return: a response of this module, a standard `Response`, or the raw record. */
export type HandlerResult = ExecuteResponse | Response;

/** Header fields as an object, as pairs (for repeated names), or as standard `Headers`. */
export type HeaderInit = Headers | Record<string, string> | Iterable<readonly [string, string]>;

export interface ResponseOptions {
  /** HTTP status, 200 when left out. */
  status?: number;
  headers?: HeaderInit;
}

const encoder = new TextEncoder();

function isHeaders(init: HeaderInit): init is Headers {
  return typeof Headers !== 'undefined' && init instanceof Headers;
}

export function headerList(init: HeaderInit | undefined): HttpHeader[] {
  if (init === undefined) return [];
  const pairs: Iterable<readonly [string, string]> =
    isHeaders(init) || Symbol.iterator in init ? init : Object.entries(init);
  return Array.from(pairs, ([name, value]) => ({ name: name.toLowerCase(), value }));
}

function respond(
  body: Uint8Array | undefined,
  contentType: string | undefined,
  options: ResponseOptions,
): ExecuteResponse {
  const headers = headerList(options.headers);
  if (contentType !== undefined && !headers.some((field) => field.name === 'content-type')) {
    headers.push({ name: 'content-type', value: contentType });
  }
  const status = options.status ?? 200;
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new RangeError(`status must be a whole number from 200 to 599, not ${String(status)}`);
  }
  for (const { name, value } of headers) assertHeader(name, value);
  return body === undefined ? { status, headers } : { status, headers, body };
}

/** A header that cannot be sent would be left out without a word on its way. */
function assertHeader(name: string, value: string): void {
  const shown = JSON.stringify(name);
  if (!/^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(name)) throw new TypeError(`${shown} is no header name`);
  if (/[\r\n\0]/.test(value)) throw new TypeError(`the value of header ${shown} has a line break`);
}

/** Answers with `value` as JSON. Throws a TypeError for what JSON cannot hold (`undefined`, cycles). */
export function json(value: unknown, options: ResponseOptions = {}): ExecuteResponse {
  const text = JSON.stringify(value) as string | undefined;
  if (text === undefined) throw new TypeError('json(): the value has no JSON form');
  return respond(encoder.encode(text), 'application/json', options);
}

export function text(value: string, options: ResponseOptions = {}): ExecuteResponse {
  return respond(encoder.encode(value), 'text/plain; charset=utf-8', options);
}

export function html(value: string, options: ResponseOptions = {}): ExecuteResponse {
  return respond(encoder.encode(value), 'text/html; charset=utf-8', options);
}

export function bytes(value: Uint8Array, options: ResponseOptions = {}): ExecuteResponse {
  return respond(value, 'application/octet-stream', options);
}

/** Answers without a body; 204 when no status is given. */
export function empty(options: ResponseOptions = {}): ExecuteResponse {
  return respond(undefined, undefined, { status: 204, ...options });
}

/** Callers through the gateway get the status alone: it passes no `location` of an extension on. */
export function redirect(
  location: string,
  status: 301 | 302 | 303 | 307 | 308 = 302,
): ExecuteResponse {
  return respond(undefined, undefined, { status, headers: { location } });
}

/** Turns whatever a handler returned into the record that the WIT export wants. */
export async function toExecuteResponse(result: unknown): Promise<ExecuteResponse> {
  if (typeof Response !== 'undefined' && result instanceof Response) {
    const headers = headerList(result.headers);
    const hasBody = result.body !== null;
    const body = hasBody ? new Uint8Array(await result.arrayBuffer()) : undefined;
    return body === undefined
      ? { status: result.status, headers }
      : { status: result.status, headers, body };
  }
  if (isExecuteResponse(result)) {
    return result.body === undefined || (result.body as unknown) === null
      ? { status: result.status, headers: result.headers }
      : result;
  }
  const got = result === undefined ? 'undefined (a missing return?)' : typeof result;
  throw new TypeError(
    `The handler must return json(…), text(…), bytes(…), empty() or a Response, but returned ${got}`,
  );
}

function isExecuteResponse(value: unknown): value is ExecuteResponse {
  if (typeof value !== 'object' || value === null) return false;
  const candidate = value as Partial<Record<keyof ExecuteResponse, unknown>>;
  return (
    typeof candidate.status === 'number' &&
    Array.isArray(candidate.headers) &&
    (candidate.body === undefined ||
      candidate.body === null ||
      candidate.body instanceof Uint8Array)
  );
}
