import { callHost, HttpError, located } from './errors.js';
import type { HostImports, HttpHeader, HttpResponse } from './wit.js';

/** The shape of the standard `fetch`. */
export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

/** Redirects followed before giving up, as in the Fetch standard. */
const MAX_REDIRECTS = 20;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const BODILESS = new Set([204, 205, 304]);
/** Credentials that must not travel to another origin. */
const PRIVATE_HEADERS = new Set(['authorization', 'cookie', 'proxy-authorization']);

interface Outgoing {
  method: string;
  url: string;
  headers: HttpHeader[];
  body: Uint8Array | undefined;
}

/**
 * A `fetch` over the gated `http` interface: every hop is judged by the egress policy of the
 * install. Differences from the standard: a failure rejects with HttpError, which says why; a host
 * call cannot be aborted half-way, so a signal counts only before a hop; there is no cache, no
 * cookie jar and no CORS.
 */
export function createFetch(http: HostImports['http']): Fetch {
  return async function fetch(input, init = {}) {
    const site = new Error();
    const request = new Request(input, init);
    const redirect = init.redirect ?? (input instanceof Request ? input.redirect : 'follow');
    const signal = init.signal ?? (input instanceof Request ? input.signal : undefined);
    let outgoing: Outgoing = {
      method: request.method,
      url: request.url,
      headers: Array.from(request.headers, ([name, value]) => ({ name, value })),
      body: request.body === null ? undefined : new Uint8Array(await request.arrayBuffer()),
    };

    for (let hop = 0; ; hop += 1) {
      signal?.throwIfAborted();
      const { method, url, headers, body } = outgoing;
      const operation = `http.fetch ${method} ${withoutQuery(url)}`;
      const answer = callHost(http, 'http', operation, HttpError, site, (api) =>
        api.fetch(body === undefined ? { method, url, headers } : { method, url, headers, body }),
      );
      const location = header(answer, 'location');
      if (!REDIRECTS.has(answer.status) || location === undefined || redirect === 'manual') {
        return toResponse(answer, url, hop > 0);
      }
      if (redirect === 'error' || hop >= MAX_REDIRECTS) {
        const why = redirect === 'error' ? 'it was redirected' : 'too many redirects';
        throw located(new HttpError('transport', `${operation}: ${why}`), site);
      }
      outgoing = nextHop(outgoing, answer.status, new URL(location, url));
    }
  };
}

/** Queries often carry keys; errors end up in logs. */
function withoutQuery(url: string): string {
  return url.replace(/[?#].*$/s, '');
}

function nextHop(from: Outgoing, status: number, target: URL): Outgoing {
  const sameOrigin = new URL(from.url).origin === target.origin;
  const toGet =
    (status === 303 && from.method !== 'HEAD') ||
    ((status === 301 || status === 302) && from.method === 'POST');
  const headers = from.headers.filter(
    ({ name }) =>
      (sameOrigin || !PRIVATE_HEADERS.has(name)) && !(toGet && name.startsWith('content-')),
  );
  return {
    method: toGet ? 'GET' : from.method,
    url: target.href,
    headers,
    body: toGet ? undefined : from.body,
  };
}

function header(response: HttpResponse, name: string): string | undefined {
  return response.headers.find((field) => field.name.toLowerCase() === name)?.value;
}

function toResponse(answer: HttpResponse, url: string, redirected: boolean): Response {
  const headers = new Headers();
  for (const { name, value } of answer.headers) headers.append(name, value);
  const body = BODILESS.has(answer.status) ? null : (answer.body ?? null);
  const response = new Response(body as BodyInit | null, { status: answer.status, headers });
  Object.defineProperty(response, 'url', { value: url });
  Object.defineProperty(response, 'redirected', { value: redirected });
  return response;
}
