import { Utf8Decoder, Utf8Encoder } from './text.js';
import { SearchParams } from './search-params.js';
import { HttpUrl } from './url.js';

/** `Headers`, `Request` and `Response` of the Fetch standard over complete bodies: no streams. */

const encoder = new Utf8Encoder();
const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

export class HeaderFields {
  readonly #fields: [string, string][] = [];

  constructor(init?: unknown) {
    if (init === undefined || init === null) return;
    const pairs = Symbol.iterator in Object(init) ? init : Object.entries(init);
    for (const pair of pairs as Iterable<[string, string]>) {
      if ([...pair].length !== 2)
        throw new TypeError('Headers: each pair needs a name and a value');
      this.append(pair[0], pair[1]);
    }
  }

  append(name: string, value: string): void {
    this.#fields.push([fieldName(name), fieldValue(value)]);
  }

  set(name: string, value: string): void {
    this.delete(name);
    this.append(name, value);
  }

  delete(name: string): void {
    const wanted = fieldName(name);
    for (let at = this.#fields.length - 1; at >= 0; at -= 1) {
      if (this.#fields[at]?.[0] === wanted) this.#fields.splice(at, 1);
    }
  }

  get(name: string): string | null {
    const wanted = fieldName(name);
    const values = this.#fields.filter(([key]) => key === wanted).map(([, value]) => value);
    return values.length === 0 ? null : values.join(', ');
  }

  getSetCookie(): string[] {
    return this.#fields.filter(([key]) => key === 'set-cookie').map(([, value]) => value);
  }

  has(name: string): boolean {
    return this.get(name) !== null;
  }

  forEach(run: (value: string, name: string, parent: HeaderFields) => void, self?: unknown): void {
    for (const [name, value] of this) Reflect.apply(run, self, [value, name, this]);
  }

  /** Sorted by name, equal names joined, cookies one by one. */
  *entries(): IterableIterator<[string, string]> {
    const names = [...new Set(this.#fields.map(([name]) => name))].sort();
    for (const name of names) {
      if (name === 'set-cookie') for (const value of this.getSetCookie()) yield [name, value];
      else yield [name, this.get(name) ?? ''];
    }
  }

  *keys(): IterableIterator<string> {
    for (const [name] of this) yield name;
  }

  *values(): IterableIterator<string> {
    for (const [, value] of this) yield value;
  }

  [Symbol.iterator](): IterableIterator<[string, string]> {
    return this.entries();
  }

  get [Symbol.toStringTag](): string {
    return 'Headers';
  }
}

function fieldName(name: unknown): string {
  const text = String(name);
  if (!NAME.test(text)) throw new TypeError(`Headers: "${text}" is not the name of a header`);
  return text.toLowerCase();
}

function fieldValue(value: unknown): string {
  const text = String(value).replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, '');
  if (/[\0\r\n]|[^\0-\xff]/.test(text)) throw new TypeError('Headers: the value is not valid');
  return text;
}

/** A body that is complete, and is read once. */
class CompleteBody {
  readonly #bytes: Uint8Array | null;
  readonly headers: HeaderFields;
  #used = false;

  constructor(body: unknown, headers: HeaderFields) {
    const [bytes, type] = bodyOf(body);
    this.#bytes = bytes;
    this.headers = headers;
    if (type !== undefined && !headers.has('content-type')) headers.set('content-type', type);
  }

  /** Null without a body; it cannot be read as a stream. */
  get body(): { getReader(): never } | null {
    if (this.#bytes === null) return null;
    const getReader = (): never => missing('streams of a body');
    return { getReader };
  }

  get bodyUsed(): boolean {
    return this.#used;
  }

  async bytes(): Promise<Uint8Array> {
    return this.take();
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    return this.take().buffer as ArrayBuffer;
  }

  async text(): Promise<string> {
    return new Utf8Decoder().decode(this.take());
  }

  async json(): Promise<unknown> {
    return JSON.parse(new Utf8Decoder().decode(this.take()));
  }

  async blob(): Promise<never> {
    return missing('Blob');
  }

  async formData(): Promise<never> {
    return missing('FormData');
  }

  /** The bytes without marking them as read, for a copy. */
  protected peek(): Uint8Array | null {
    if (this.#used) throw new TypeError('The body was read already');
    return this.#bytes;
  }

  protected take(): Uint8Array {
    const bytes = this.peek();
    if (bytes === null) return new Uint8Array();
    this.#used = true;
    return bytes.slice();
  }
}

function missing(what: string): never {
  throw new TypeError(`${what} is not there on QuickJS; build with --engine starlingmonkey`);
}

function bodyOf(body: unknown): [Uint8Array | null, string | undefined] {
  if (body === undefined || body === null) return [null, undefined];
  if (ArrayBuffer.isView(body)) {
    return [new Uint8Array(body.buffer, body.byteOffset, body.byteLength).slice(), undefined];
  }
  if (body instanceof ArrayBuffer) return [new Uint8Array(body.slice(0)), undefined];
  if (body instanceof SearchParams) {
    const type = 'application/x-www-form-urlencoded;charset=UTF-8';
    return [encoder.encode(body.toString()), type];
  }
  return [encoder.encode(body), 'text/plain;charset=UTF-8'];
}

interface RequestOptions {
  method?: string;
  headers?: unknown;
  body?: unknown;
  redirect?: string;
}

const UPPER = new Set(['DELETE', 'GET', 'HEAD', 'OPTIONS', 'POST', 'PUT']);

export class FetchRequest extends CompleteBody {
  readonly method: string;
  readonly url: string;
  readonly redirect: string;

  constructor(input: unknown, init: RequestOptions = {}) {
    const from = input instanceof FetchRequest ? input : undefined;
    const given = init.method ?? from?.method ?? 'GET';
    const method = UPPER.has(given.toUpperCase()) ? given.toUpperCase() : given;
    if (!NAME.test(method)) throw new TypeError(`Request: "${method}" is not a method`);
    const body = init.body ?? from?.peek() ?? undefined;
    if (body !== undefined && (method === 'GET' || method === 'HEAD')) {
      throw new TypeError(`Request: ${method} has no body`);
    }
    super(body, new HeaderFields(init.headers ?? from?.headers));
    this.method = method;
    this.url = from?.url ?? new HttpUrl(String(input)).href;
    this.redirect = init.redirect ?? from?.redirect ?? 'follow';
  }

  /** There is no AbortSignal. */
  get signal(): undefined {
    return undefined;
  }

  clone(): FetchRequest {
    return new FetchRequest(this);
  }

  get [Symbol.toStringTag](): string {
    return 'Request';
  }
}

interface ResponseOptions {
  status?: number;
  statusText?: string;
  headers?: unknown;
}

export class FetchResponse extends CompleteBody {
  readonly status: number;
  readonly statusText: string;
  readonly type: string = 'default';
  readonly url: string = '';
  readonly redirected: boolean = false;

  constructor(body?: unknown, init: ResponseOptions = {}) {
    const status = init.status ?? 200;
    if (!Number.isInteger(status) || status < 200 || status > 599) {
      throw new RangeError('Response: the status must be from 200 to 599');
    }
    if (body !== undefined && body !== null && [204, 205, 304].includes(status)) {
      throw new TypeError(`Response: ${status} has no body`);
    }
    super(body, new HeaderFields(init.headers));
    this.status = status;
    this.statusText = init.statusText ?? '';
  }

  get ok(): boolean {
    return this.status >= 200 && this.status < 300;
  }

  clone(): FetchResponse {
    return new FetchResponse(this.peek(), this);
  }

  static json(value: unknown, init: ResponseOptions = {}): FetchResponse {
    const headers = new HeaderFields(init.headers);
    if (!headers.has('content-type')) headers.set('content-type', 'application/json');
    return new FetchResponse(encoder.encode(JSON.stringify(value)), { ...init, headers });
  }

  static redirect(url: string, status = 302): FetchResponse {
    if (![301, 302, 303, 307, 308].includes(status)) {
      throw new RangeError(`Response.redirect: ${status} is no redirect`);
    }
    return new FetchResponse(null, { status, headers: { location: new HttpUrl(url).href } });
  }

  get [Symbol.toStringTag](): string {
    return 'Response';
  }
}
