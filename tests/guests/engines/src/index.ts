import { handler, json, StorageError } from '@alga/extension-runtime';
import { Router } from '@alga/extension-runtime/extras';

async function* countdown(from: number) {
  for (let left = from; left > 0; left -= 1) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    yield left;
  }
}

class Tally {
  #count = 0;
  static async of(values: AsyncIterable<number>) {
    const tally = new Tally();
    for await (const value of values) tally.#count += value;
    return tally;
  }
  get count() {
    return this.#count;
  }
}

// As lodash does: kept before the first request, and live all the same.
const kept = { random: Math.random, now: Date.now };

const router = new Router()
  .get('/draws', () =>
    json({
      random: [Math.random(), Math.random(), Math.random()],
      kept: kept.random(),
      uuid: crypto.randomUUID(),
      values: Array.from(crypto.getRandomValues(new Uint8Array(8))),
      now: Date.now(),
      date: new Date().toISOString(),
    }),
  )
  .get('/clock', async () => {
    const [before, wall] = [performance.now(), Date.now()];
    await new Promise((resolve) => setTimeout(resolve, 60));
    return json({ before, waited: performance.now() - before, wall: Date.now() - wall });
  })
  .get('/async', async () => {
    const order: string[] = [];
    const note = (text: string) => () => void order.push(text);
    const settled = await Promise.allSettled([Promise.reject(new Error('no')), 1]);
    queueMicrotask(note('microtask'));
    await Promise.resolve().then(note('then')).finally(note('finally'));
    const race = await Promise.race([
      new Promise((resolve) => setTimeout(() => resolve('late'), 40)),
      new Promise((resolve) => setTimeout(() => resolve('early'), 2)),
    ]);
    const tally = await Tally.of(countdown(4));
    return json({ order, settled: settled.map(({ status }) => status), race, sum: tally.count });
  })
  .get('/echo/:name', ({ params, request }) =>
    json({
      name: params['name'],
      query: Object.fromEntries(request.query),
      text: new TextDecoder().decode(new TextEncoder().encode('Ärger 😀')),
      words: /^\p{Lu}\p{L}+$/u.test('Ärger'),
      base64: atob(btoa('abc')),
    }),
  )
  .post('/body', ({ request }) => json({ got: request.json() }))
  .get('/api', async ({ config, secrets }) => {
    const url = await config.require('api_url');
    const answer = await fetch(`${url}/tickets?q=a%20b`, {
      method: 'POST',
      headers: { 'x-api-key': await secrets.get('alga_api_key') },
      body: JSON.stringify({ n: 1 }),
    });
    return json({ status: answer.status, ok: answer.ok, type: answer.headers.get('content-type') });
  })
  .get('/store', async ({ storage }) => {
    const first = await storage.put('ns', 'k', 'v1');
    const second = await storage.put('ns', 'k', 'v2', { when: { revision: first } });
    const conflict = await storage
      .put('ns', 'k', 'v3', { when: 'absent' })
      .catch((error: unknown) => (error as StorageError).code);
    const page = await storage.list('ns', { limit: 10 });
    const found = await storage.get('ns', 'k');
    const gone = [await storage.delete('ns', 'k'), await storage.delete('ns', 'k')];
    return json({
      grew: second > first,
      type: typeof second,
      conflict,
      keys: page.entries.map(({ key }) => key),
      value: new TextDecoder().decode(found?.value),
      gone,
    });
  })
  .get('/response', () => new Response('plain', { status: 201, headers: { 'x-a': 'b' } }))
  .get('/stuck', () => new Promise<never>(() => undefined))
  .get('/features', ({ request }) => {
    const names = (request.query.get('names') ?? '').split(',');
    const found = names.map((name) => {
      const value = name
        .split('.')
        .reduce<unknown>((at, part) => (at as Record<string, unknown> | undefined)?.[part], globalThis);
      return [name, typeof value];
    });
    return json(Object.fromEntries(found));
  });

export default handler(router.handle);
