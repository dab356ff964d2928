import type { ExecuteRequest, HttpHeader } from './wit.js';

/** A request body that is not what its reader asked for; an uncaught one is answered with 400. */
export class RequestBodyError extends Error {
  override readonly name = 'RequestBodyError';
}

/** The request that the handler answers. Bodies are already complete, so nothing here waits. */
export class ExtensionRequest {
  readonly method: string;
  /** Path and query, starting with `/`. */
  readonly url: string;
  /** Path alone, percent-encoded as it was sent. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: RequestHeaders;
  /** The raw record, for what this class does not cover. */
  readonly raw: ExecuteRequest;

  constructor(raw: ExecuteRequest) {
    this.raw = raw;
    this.method = raw.http.method.toUpperCase();
    this.url = raw.http.url;
    const mark = raw.http.url.indexOf('?');
    this.path = mark < 0 ? raw.http.url : raw.http.url.slice(0, mark);
    this.query = new URLSearchParams(mark < 0 ? '' : raw.http.url.slice(mark + 1));
    this.headers = new RequestHeaders(raw.http.headers);
  }

  /** The body; empty when there is none. */
  bytes(): Uint8Array {
    return this.raw.http.body ?? new Uint8Array();
  }

  /** The body as UTF-8 text. Throws RequestBodyError when it is not UTF-8. */
  text(): string {
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(this.bytes());
    } catch {
      throw new RequestBodyError('The request body is not UTF-8 text');
    }
  }

  /**
   * The body as JSON. The type is the caller's claim: check what comes from outside.
   * Throws RequestBodyError when the body is not JSON.
   */
  json<T = unknown>(): T {
    const body = this.text();
    try {
      return JSON.parse(body) as T;
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new RequestBodyError(`The request body is not JSON: ${reason}`);
    }
  }

  /** The body of an HTML form (`application/x-www-form-urlencoded`). */
  form(): URLSearchParams {
    return new URLSearchParams(this.text());
  }
}

/** Header fields of a request. Names are compared without regard to case; order is kept. */
export class RequestHeaders implements Iterable<readonly [string, string]> {
  readonly #fields: readonly HttpHeader[];

  constructor(fields: readonly HttpHeader[]) {
    this.#fields = fields;
  }

  /** All values of `name` joined with `, `, or undefined. */
  get(name: string): string | undefined {
    const values = this.getAll(name);
    return values.length === 0 ? undefined : values.join(', ');
  }

  getAll(name: string): string[] {
    const wanted = name.toLowerCase();
    return this.#fields.filter((f) => f.name.toLowerCase() === wanted).map((f) => f.value);
  }

  has(name: string): boolean {
    return this.getAll(name).length > 0;
  }

  *[Symbol.iterator](): Iterator<readonly [string, string]> {
    for (const field of this.#fields) yield [field.name.toLowerCase(), field.value];
  }
}
