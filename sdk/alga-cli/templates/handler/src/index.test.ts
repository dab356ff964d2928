import { TestHost } from '@alga/extension-runtime/testing';
import { expect, test } from 'vitest';

import extension from './index.js';

test('greets by name', async () => {
  const host = new TestHost();
  const response = await host.call(extension, { path: '/hello?name=Ann' });
  expect(response.json()).toEqual({ hello: 'Ann' });
});

test('sends the secret to the API, and only there', async () => {
  const host = new TestHost({
    secrets: { alga_api_key: 'k-123' },
    upstreams: { 'https://api.example.com/tickets': { json: [{ id: 1 }] } },
  });
  const response = await host.call(extension, { path: '/tickets' });
  expect(response.json()).toEqual({ tickets: [{ id: 1 }] });
  expect(host.callsTo('http')[0]?.args[0]).toMatchObject({
    headers: [{ name: 'x-api-key', value: 'k-123' }],
  });
  expect(JSON.stringify(host.logs)).not.toContain('k-123');
});

test('answers 502 when the API is in trouble', async () => {
  const host = new TestHost({
    secrets: { alga_api_key: 'k-123' },
    upstreams: { 'https://api.example.com/tickets': { status: 429 } },
  });
  expect((await host.call(extension, { path: '/tickets' })).status).toBe(502);
});
