import { TestHost } from '@alga/extension-runtime/testing';
import { expect, test } from 'vitest';

import extension from './index.js';

const API = 'https://api.example.com/tickets';

function host(reply: object = { json: [{ id: 1, title: 'Printer' }] }): TestHost {
  return new TestHost({ secrets: { alga_api_key: 'k-1' }, upstreams: { [API]: reply } });
}

test('calls the API with the secret and returns titles', async () => {
  const here = host();
  const response = await here.call(extension);
  expect(response.json()).toEqual({ tickets: ['Printer'] });
  expect(here.callsTo('http')[0]?.args[0]).toMatchObject({
    headers: [{ name: 'x-api-key', value: 'k-1' }],
  });
});

test('never shows the secret, neither in the answer nor in the log', async () => {
  const here = host({ status: 500 });
  const response = await here.call(extension);
  expect(response.status).toBe(502);
  expect(response.text() + JSON.stringify(here.logs)).not.toContain('k-1');
});

test('passes on when the API asks for patience', async () => {
  const response = await host({ status: 429, headers: { 'retry-after': '7' } }).call(extension);
  expect([response.status, response.headers.get('retry-after')]).toEqual([503, '7']);
});

test('says what an administrator has to do', async () => {
  expect((await new TestHost().call(extension)).status).toBe(409);
});

test('answers 504 when the API takes too long', async () => {
  const here = host();
  here.fail('http', 'timeout');
  expect((await here.call(extension)).status).toBe(504);
});
