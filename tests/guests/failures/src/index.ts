import { handler, json } from '@alga/extension-runtime';
import { Router } from '@alga/extension-runtime/extras';

import { deepen, explode, hoard, parse, refuseLater, save } from './failures.js';

// A comment that ends in `fails: NAME` marks the line that tests/e2e/sdk_errors_test.py expects.
const router = new Router()
  .get('/fine', () => json({ ok: true }))
  .get('/throw', () => {
    explode({ name: 'luck' });
  })
  .get('/reject', async () => {
    await refuseLater('the queue is closed');
    return json({});
  })
  .get('/value', () => {
    // eslint-disable-next-line @typescript-eslint/only-throw-error -- JavaScript lets authors do so
    throw { reason: 'not even an error' };
  })
  .get('/json', () => json(parse('{"open": ')))
  .post('/body', ({ request }) => json(request.json())) // fails: body
  .get('/denied', async ({ storage }) => {
    await storage.put('notes', 'one', 'text'); // fails: denied
    return json({});
  })
  .get('/secret', async ({ secrets }) => {
    const key = await secrets.get('nobody_set_this'); // fails: secret
    return json({ length: key.length });
  })
  .get('/egress', async ({ http }) => {
    const answer = await http.fetch('https://example.org/tickets?token=private'); // fails: egress
    return json({ status: answer.status });
  })
  .get('/global-fetch', async () => {
    const answer = await fetch('https://example.org/'); // fails: global-fetch
    return json({ status: answer.status });
  })
  .get('/forgotten', ({ storage }) => {
    void storage.put('notes', 'two', 'text'); // fails: forgotten
    return json({ saved: true });
  })
  .get('/forgotten-own', ({ storage }) => {
    void save(storage);
    return json({ saved: true });
  })
  .get('/caught-late', async ({ storage, config }) => {
    const writing = storage.put('notes', 'three', 'text');
    await config.get('api_url');
    await writing.catch(() => undefined);
    void storage.put('notes', 'four', 'text').catch(() => undefined);
    await Promise.allSettled([storage.put('notes', 'five', 'text')]);
    return json({ saved: false });
  })
  .get('/overflow', () => json({ depth: deepen(0) }))
  .get('/loop', async ({ config, log }) => {
    log.info('counting begins');
    await config.get('api_url'); // fails: loop
    for (;;);
  })
  .get('/wait', async ({ config, http, log }) => {
    const api = await config.require('api_url');
    log.info('asking a slow API');
    const answer = await http.fetch(`${api}/slow/60000`); // fails: wait
    return json({ status: answer.status });
  })
  .get('/sleep', async ({ config, log }) => {
    log.info('sleeping');
    await config.get('api_url'); // fails: sleep
    await new Promise((wake) => setTimeout(wake, 60_000));
    return json({});
  })
  .get('/memory', async ({ secrets, log }) => {
    log.info('collecting');
    await secrets.list(); // fails: memory
    return json({ kept: hoard() });
  });

export default handler(router.handle);
