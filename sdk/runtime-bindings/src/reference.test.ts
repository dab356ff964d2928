import { expect, test } from 'vitest';

import { callProxyJson, emptyResponse, jsonResponse, normalizeUserData } from './reference.js';

test('jsonResponse and emptyResponse have the defaults of the reference', () => {
  expect(jsonResponse({ a: 1 }).status).toBe(200);
  expect(jsonResponse({ a: 1 }, { status: 201 }).headers).toEqual([
    { name: 'content-type', value: 'application/json' },
  ]);
  expect(emptyResponse()).toEqual({ status: 204, headers: [] });
});

test('normalizeUserData reads every revision of the interface', () => {
  const wanted = { clientName: 'C', userId: 'u', additionalFields: [] };
  expect(normalizeUserData({ companyName: 'C', userId: 'u' })).toMatchObject(wanted);
  expect(normalizeUserData({ client_name: 'C', user_id: 'u' })).toMatchObject(wanted);
  const second = {
    clientName: 'C',
    userId: 'u',
    clientId: 'c1',
    additionalFields: [
      ['b', '2'],
      ['a', '1'],
    ],
  };
  expect(normalizeUserData(second)).toMatchObject({
    clientId: 'c1',
    additionalFields: [
      ['a', '1'],
      ['b', '2'],
    ],
  });
  expect(() => normalizeUserData(null)).toThrow(TypeError);
});

test('callProxyJson encodes, calls and decodes; an empty answer is null', async () => {
  const seen: unknown[] = [];
  const proxy = {
    callRoute: async (route: string, payload?: Uint8Array | null) => {
      seen.push([
        route,
        payload === undefined ? undefined : new TextDecoder().decode(payload ?? undefined),
      ]);
      return route === '/empty' ? new Uint8Array() : new TextEncoder().encode('{"ok":true}');
    },
  };
  expect(await callProxyJson(proxy, '/x', { body: { a: 1 } })).toEqual({ ok: true });
  expect(await callProxyJson(proxy, '/empty')).toBeNull();
  expect(seen).toEqual([
    ['/x', '{"a":1}'],
    ['/empty', undefined],
  ]);
});
