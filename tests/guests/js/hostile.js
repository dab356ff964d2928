// A guest that means harm: answers what its caller dictates, calls what its caller dictates, and
// brings the largest values it can make into every function of the host.
import { getContext } from 'alga:extension/context@1.0.0';
import * as config from 'alga:extension/config@1.0.0';
import * as secrets from 'alga:extension/secrets@1.0.0';
import * as http from 'alga:extension/http@1.0.0';
import * as storage from 'alga:extension/storage@1.0.0';
import { log } from 'alga:extension/logging@1.0.0';
import { callRoute } from 'alga:extension/ui-proxy@1.0.0';
import { getUser } from 'alga:extension/user@1.0.0';

const text = (bytes) => new TextDecoder().decode(bytes ?? new Uint8Array());
const bytes = (string) => new TextEncoder().encode(string);
const answer = (value) => ({
  status: 200,
  headers: [{ name: 'content-type', value: 'application/json' }],
  body: bytes(JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? Number(v) : ArrayBuffer.isView(v) ? text(v) : v))),
});
const attempt = (call) => {
  try {
    return { ok: call() ?? null };
  } catch (error) {
    return { err: error.payload ?? String(error) };
  }
};
const pairs = (list) => list.map(([name, value]) => ({ name, value }));
const always = { condition: { tag: 'always' }, ttlSeconds: undefined };
const get = (url, headers = []) => http.fetch({ method: 'GET', url, headers, body: undefined });

/** One call of each function that has something to take, with a text of `size` characters; requests go to `url`. */
const huge = {
  config: (t) => config.get(t),
  secret: (t) => secrets.get(t),
  url: (t, url) => get(`${url}/${t}`),
  header: (t, url) => get(url, [{ name: 'x', value: t }]),
  'header-name': (t, url) => get(url, [{ name: t, value: 'x' }]),
  method: (t, url) => http.fetch({ method: t, url, headers: [], body: undefined }),
  body: (t, url) => http.fetch({ method: 'POST', url, headers: [], body: bytes(t) }).status,
  namespace: (t) => storage.put(t, 'k', bytes('v'), always),
  key: (t) => storage.put('n', t, bytes('v'), always),
  value: (t) => storage.put('n', 'k', bytes(t), always),
  prefix: (t) => storage.listEntries('n', { prefix: t, cursor: undefined, limit: 10 }),
  cursor: (t) => storage.listEntries('n', { prefix: undefined, cursor: t, limit: 10 }),
  log: (t) => log('info', t),
  route: (t) => callRoute(t, undefined),
  payload: (t) => text(callRoute('/api/x', bytes(t))),
};

const behaviours = {
  /** `{status, headers: [[name, value]], body}` becomes the answer as it is. */
  '/answer': (asked) => ({ status: asked.status ?? 200, headers: pairs(asked.headers ?? []), body: bytes(asked.body ?? '') }),
  /** `{method, url, headers, body}` becomes a request as it is. */
  '/fetch': (asked) =>
    answer(
      attempt(() => {
        const body = asked.body === undefined ? undefined : bytes(asked.body);
        const got = http.fetch({ method: asked.method ?? 'GET', url: asked.url, headers: pairs(asked.headers ?? []), body });
        return { status: got.status, headers: got.headers, body: text(got.body) };
      }),
    ),
  /** Every capability once: which of them answers. `{url}` is what is fetched. */
  '/everything': (asked) =>
    answer({
      context: attempt(() => getContext().tenantId),
      config: attempt(() => config.get('key')),
      entries: attempt(() => config.entries()),
      secret: attempt(() => secrets.get('key')),
      keys: attempt(() => secrets.listKeys()),
      fetch: attempt(() => get(asked.url).status),
      put: attempt(() => storage.put('n', 'k', bytes('v'), always)),
      get: attempt(() => storage.get('n', 'k')),
      list: attempt(() => storage.listEntries('n', { prefix: undefined, cursor: undefined, limit: 10 })),
      delete: attempt(() => storage.delete('n', 'k', { tag: 'always' })),
      log: attempt(() => log('info', 'a line')),
      route: attempt(() => callRoute('/api/x', undefined)),
      user: attempt(() => getUser()),
    }),
  /** `{route, payload}` */
  '/route': (asked) => answer(attempt(() => text(callRoute(asked.route, asked.payload === undefined ? undefined : bytes(asked.payload))))),
  /** `{what, size, url}` */
  '/huge': (asked) => answer(attempt(() => huge[asked.what]('x'.repeat(asked.size), asked.url))),
  /** A request to `url` with `count` header fields. */
  '/many-headers': (asked) =>
    answer(attempt(() => get(asked.url, Array.from({ length: asked.count }, (_, i) => ({ name: `x-${i}`, value: '1' }))).status)),
  /** `{lines}` are logged as they are. */
  '/log': (asked) => {
    for (const line of asked.lines) log('warn', line);
    return answer({ logged: asked.lines.length });
  },
  /** `{ns, keys}`: storage writes with these keys, and what each came to. */
  '/keys': (asked) => answer(asked.keys.map((key) => attempt(() => storage.put(asked.ns, key, bytes('v'), always)))),
  /** `{ns, key}` */
  '/read': (asked) => answer(attempt(() => text(storage.get(asked.ns, asked.key).value))),
  /** The answer's own members run code while the host takes it. */
  '/getter': () => ({
    status: 200,
    headers: [],
    get body() {
      for (;;);
    },
  }),
  '/microtasks': async () => {
    for (;;) await null;
  },
  '/sort': () => answer([3, 2, 1].sort(() => { for (;;); })),
  /** `{count}`: numbers in the text that is parsed without end. */
  '/json': (asked) => {
    const text = `[${'0,'.repeat(asked.count)}0]`;
    for (;;) JSON.parse(text);
  },
  '/eval': () => answer(attempt(() => new Function('return typeof process + typeof require + typeof Deno')())),
  '/environment': () => answer({ globals: Object.getOwnPropertyNames(globalThis) }),
};

export async function handler(request) {
  const path = request.http.url.split('?')[0];
  const asked = request.http.body?.length ? JSON.parse(text(request.http.body)) : {};
  const behaviour = behaviours[path];
  return behaviour ? behaviour(asked) : { status: 404, headers: [], body: undefined };
}
