import { expect, test } from 'vitest';

import { HttpError } from './errors.js';
import { createFetch } from './fetch.js';
import type { HttpRequest, HttpResponse } from './wit.js';

function recording(answer: (request: HttpRequest) => HttpResponse) {
  const seen: HttpRequest[] = [];
  const fetch = createFetch({
    fetch: (request) => {
      seen.push(request);
      return answer(request);
    },
  });
  return { fetch, seen };
}

const ok = (): HttpResponse => ({ status: 200, headers: [], body: new TextEncoder().encode('{}') });
const to = (location: string, status = 302): HttpResponse => ({
  status,
  headers: [{ name: 'Location', value: location }],
});
const names = (request: HttpRequest | undefined) => request?.headers.map(({ name }) => name);

test('sends method, headers and body, and reads the answer', async () => {
  const { fetch, seen } = recording(() => ({
    status: 201,
    headers: [{ name: 'content-type', value: 'application/json' }],
    body: new TextEncoder().encode('{"a":1}'),
  }));
  const answer = await fetch('https://api.example.com/x', {
    method: 'POST',
    headers: { 'X-Key': 'k' },
    body: new URLSearchParams({ q: 'ä' }),
  });
  expect(seen[0]).toMatchObject({ method: 'POST', url: 'https://api.example.com/x' });
  expect(new TextDecoder().decode(seen[0]?.body)).toBe('q=%C3%A4');
  expect(names(seen[0])).toEqual(expect.arrayContaining(['x-key', 'content-type']));
  expect([answer.status, answer.ok, answer.url]).toEqual([201, true, 'https://api.example.com/x']);
  expect(await answer.json()).toEqual({ a: 1 });
});

test('takes a Request as it is', async () => {
  const { fetch, seen } = recording(ok);
  await fetch(new Request('https://a.example/', { method: 'PUT', body: 'x' }));
  expect(seen[0]).toMatchObject({ method: 'PUT', url: 'https://a.example/' });
});

test('answers without a body where HTTP has none', async () => {
  const { fetch } = recording(() => ({ status: 204, headers: [], body: new Uint8Array() }));
  const answer = await fetch('https://a.example/');
  expect([answer.status, await answer.text()]).toEqual([204, '']);
});

test('follows redirects and says so', async () => {
  const { fetch } = recording(({ url }) => (url.endsWith('/2') ? ok() : to('/2')));
  const answer = await fetch('https://a.example/1');
  expect([answer.url, answer.redirected]).toEqual(['https://a.example/2', true]);
});

test('keeps credentials from another origin', async () => {
  const { fetch, seen } = recording(({ url }) =>
    url.includes('b.example') ? ok() : to('https://b.example/'),
  );
  const headers = { authorization: 'Bearer t', cookie: 'c=1', 'x-other': '1' };
  await fetch('https://a.example/', { headers });
  expect(names(seen[0])).toContain('authorization');
  expect(names(seen[1])).toEqual(['x-other']);
});

test('turns POST into GET on 303 and keeps it on 307', async () => {
  for (const [status, method] of [
    [303, 'GET'],
    [307, 'POST'],
  ] as const) {
    const { fetch, seen } = recording(({ url }) => (url.endsWith('/2') ? ok() : to('/2', status)));
    await fetch('https://a.example/', { method: 'POST', body: 'x' });
    expect(seen[1]?.method).toBe(method);
    expect(seen[1]?.body === undefined).toBe(method === 'GET');
  }
});

test('returns a redirect with redirect: "manual" and refuses it with "error"', async () => {
  const { fetch } = recording(() => to('/2'));
  expect((await fetch('https://a.example/', { redirect: 'manual' })).status).toBe(302);
  await expect(fetch('https://a.example/', { redirect: 'error' })).rejects.toThrow(HttpError);
});

test('gives up after twenty redirects', async () => {
  const { fetch, seen } = recording(() => to('/again'));
  await expect(fetch('https://a.example/')).rejects.toMatchObject({ code: 'transport' });
  expect(seen).toHaveLength(21);
});

test('rejects with the case of the host, without the query of the URL', async () => {
  const { fetch } = recording(() => {
    throw Object.assign(new Error(), { payload: 'not-allowed' });
  });
  const error: unknown = await fetch('https://a.example/p?key=s3cret').catch((e: unknown) => e);
  expect(error).toBeInstanceOf(HttpError);
  expect(error).toMatchObject({ code: 'not-allowed', interface: 'http' });
  expect(String(error)).toContain('https://a.example/p');
  expect(String(error)).not.toContain('s3cret');
});

test('honours a signal that is aborted already', async () => {
  const { fetch, seen } = recording(ok);
  const signal = AbortSignal.abort(new Error('stop'));
  await expect(fetch('https://a.example/', { signal })).rejects.toThrow('stop');
  expect(seen).toHaveLength(0);
});
