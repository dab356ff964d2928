// A guest of alga:extension@1.0.0 that shows one behaviour per path: ordinary ones for checking what
// arrives and what the host answers, hostile ones for checking that each ends as it should.
import { getContext, remainingTimeMs } from 'alga:extension/context@1.0.0';
import * as config from 'alga:extension/config@1.0.0';
import * as secrets from 'alga:extension/secrets@1.0.0';
import * as http from 'alga:extension/http@1.0.0';
import * as storage from 'alga:extension/storage@1.0.0';
import { log } from 'alga:extension/logging@1.0.0';
import { callRoute } from 'alga:extension/ui-proxy@1.0.0';
import { getUser } from 'alga:extension/user@1.0.0';

// Runs while the component is built: must start afresh in every execution.
let counter = 0;

const text = (bytes) => new TextDecoder().decode(bytes ?? new Uint8Array());
const bytes = (string) => new TextEncoder().encode(string);
const plain = (value) =>
  JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? Number(v) : ArrayBuffer.isView(v) ? text(v) : v));
const answer = (value, status = 200, headers = []) => ({
  status,
  headers: [{ name: 'content-type', value: 'application/json' }, ...headers],
  body: bytes(plain(value)),
});

/** The value, or the name of the error case that the host answered. */
const attempt = (call) => {
  try {
    return { ok: call() };
  } catch (error) {
    return { err: error.payload ?? String(error) };
  }
};

const behaviours = {
  '/echo': ({ context, http }) =>
    answer({ context, method: http.method, url: http.url, headers: http.headers, body: text(http.body) }),
  '/nothing': () => ({ status: 204, headers: [], body: undefined }),
  '/bytes': ({ http }) => ({ status: 200, headers: [], body: http.body }),
  '/context': () => answer({ context: getContext(), remaining: remainingTimeMs() }),
  '/config': (_, query) =>
    answer({ value: attempt(() => config.get(query.get('key') ?? 'key')), entries: attempt(() => config.entries()) }),
  '/secret': (_, query) =>
    answer({ value: attempt(() => secrets.get(query.get('key') ?? 'key')), keys: attempt(() => secrets.listKeys()) }),
  '/user': () => answer(attempt(() => getUser())),
  '/log': (_, query) => {
    for (const level of ['debug', 'info', 'warn', 'error']) log(level, query.get('message') ?? `a ${level} line`);
    console.log('to standard output');
    console.error('to standard error');
    return answer({ logged: 4 });
  },
  '/fetch': ({ http: request }, query) => {
    const headers = [{ name: 'x-from', value: 'guest' }];
    const url = query.get('url') ?? 'https://api.example.test/';
    const result = attempt(() => http.fetch({ method: query.get('method') ?? 'GET', url, headers, body: request.body }));
    return answer(result);
  },
  '/storage': (_, query) => {
    const ns = query.get('ns') ?? 'notes';
    const always = { tag: 'always' };
    return answer({
      created: attempt(() => storage.put(ns, 'a', bytes('one'), { condition: { tag: 'create-only' }, ttlSeconds: undefined })),
      again: attempt(() => storage.put(ns, 'a', bytes('two'), { condition: { tag: 'create-only' }, ttlSeconds: 60 })),
      read: attempt(() => storage.get(ns, 'a')),
      stale: attempt(() => storage.put(ns, 'a', bytes('two'), { condition: { tag: 'revision', val: 99n } })),
      listed: attempt(() => storage.listEntries(ns, { prefix: 'a', cursor: undefined, limit: 10 })),
      deleted: attempt(() => storage.delete(ns, 'a', always)),
      missing: attempt(() => storage.get(ns, 'a')),
    });
  },
  // Every key of a namespace, page by page.
  '/pages': (_, query) => {
    const [ns, prefix, limit] = [query.get('ns'), query.get('prefix') ?? undefined, Number(query.get('limit') ?? 25)];
    const pages = [];
    let cursor;
    do {
      const page = storage.listEntries(ns, { prefix, cursor, limit });
      pages.push(page.entries.map(({ key }) => key));
      cursor = page.nextCursor;
    } while (cursor !== undefined && pages.length < 100);
    return answer(pages);
  },
  '/proxy': ({ http }, query) => answer(attempt(() => text(callRoute(query.get('route') ?? '/api/x', http.body)))),
  // The main job in one request: a secret, an allowed call, a stored value, a log line.
  '/main-job': (_, query) => {
    const token = secrets.get(query.get('key') ?? 'api_key');
    const url = query.get('url') ?? 'https://api.example.test/';
    const reply = http.fetch({ method: 'GET', url, headers: [{ name: 'authorization', value: token }], body: undefined });
    const revision = storage.put('jobs', 'last', reply.body ?? new Uint8Array(), { condition: { tag: 'always' } });
    log('info', `stored revision ${revision}`);
    return answer({ upstream: reply.status, revision });
  },
  '/sleep': async (_, query) => {
    const ms = Number(query.get('ms') ?? 20);
    await new Promise((resolve) => setTimeout(resolve, ms));
    return answer({ slept: ms });
  },
  '/counter': () => answer({ counter: ++counter }),
  '/random': () => {
    const random = new Uint8Array(16);
    crypto.getRandomValues(random);
    return answer({ now: Date.now(), uuid: crypto.randomUUID(), random: [...random], math: Math.random() });
  },
  '/status': (_, query) => answer({}, Number(query.get('code') ?? 200)),
  '/headers': (_, query) => {
    const value = 'v'.repeat(Number(query.get('size') ?? 1));
    const count = Number(query.get('count') ?? 1);
    return answer({}, 200, Array.from({ length: count }, (_, i) => ({ name: `x-${i}`, value })));
  },
  '/body': (_, query) => ({ status: 200, headers: [], body: new Uint8Array(Number(query.get('size') ?? 0)) }),

  // Hostile from here on.
  '/loop': () => {
    for (;;) counter++;
  },
  '/await-forever': () => new Promise(() => {}),
  // Computes on whatever it hears, also that its time is over.
  '/fetch-and-loop': (_, query) => {
    attempt(() => http.fetch({ method: 'GET', url: query.get('url'), headers: [], body: undefined }));
    for (;;) counter++;
  },
  '/allocate': () => {
    const hoard = [];
    for (;;) hoard.push(new Uint8Array(1 << 20).fill(1));
  },
  '/recurse': () => {
    const deeper = (n) => deeper(n + 1) + 1;
    return answer(attempt(() => deeper(0)));
  },
  '/throw': () => {
    throw new Error('thrown on purpose');
  },
  '/reject': async () => {
    await Promise.resolve();
    throw new Error('rejected on purpose');
  },
  '/log-flood': (_, query) => {
    const line = 'x'.repeat(Number(query.get('size') ?? 1000));
    for (;;) log('info', line);
  },
  '/print-flood': () => {
    for (;;) console.error('x'.repeat(1000));
  },
  '/call-flood': () => {
    for (;;) attempt(() => config.get('key'));
  },
  '/fetch-flood': () => {
    for (;;) attempt(() => http.fetch({ method: 'GET', url: 'https://api.example.test/', headers: [], body: undefined }));
  },
  '/regex': () => answer({ matched: /^(a+)+$/.test('a'.repeat(40) + '!') }),
  '/big-call': (_, query) =>
    answer(attempt(() => storage.put('n', 'k', new Uint8Array(Number(query.get('size') ?? 1)), { condition: { tag: 'always' } }))),
  // A canary: fills memory with a mark, or looks for the mark that another execution left.
  '/plant': () => {
    const mark = 'CANARY'.repeat(1000);
    const kept = Array.from({ length: 100 }, (_, i) => mark + i);
    return answer({ planted: kept.length });
  },
};

export async function handler(request) {
  const url = new URL(request.http.url, 'http://guest');
  const behaviour = behaviours[url.pathname];
  if (!behaviour) return answer({ error: 'no such behaviour', known: Object.keys(behaviours) }, 404);
  return behaviour(request, url.searchParams);
}
