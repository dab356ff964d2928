import { describe, expect, test } from 'vitest';

import { bytes, empty, html, json, redirect, text, toExecuteResponse } from './response.js';

const body = (response: { body?: Uint8Array }) => new TextDecoder().decode(response.body);

describe('responses', () => {
  test('json has its content type unless another is given', () => {
    expect(json({ a: 1 })).toMatchObject({
      status: 200,
      headers: [{ name: 'content-type', value: 'application/json' }],
    });
    const problem = json(
      {},
      { status: 400, headers: { 'Content-Type': 'application/problem+json' } },
    );
    expect(problem.headers).toEqual([{ name: 'content-type', value: 'application/problem+json' }]);
  });

  test('json refuses what JSON cannot hold', () => {
    expect(() => json(undefined)).toThrow(TypeError);
  });

  test('repeated headers stay repeated', () => {
    const headers = [
      ['set-cookie', 'a=1'],
      ['set-cookie', 'b=2'],
    ] as const;
    expect(text('x', { headers }).headers.filter(({ name }) => name === 'set-cookie')).toHaveLength(
      2,
    );
  });

  test('an impossible status is refused where it is written', () => {
    expect(() => text('x', { status: 42 })).toThrow(RangeError);
    expect(() => text('x', { status: 200.5 })).toThrow(RangeError);
    expect(() => json(1, { status: 199 })).toThrow('from 200 to 599, not 199');
    expect(() => json(1, { status: 600 })).toThrow(RangeError);
    expect(json(1, { status: 599 }).status).toBe(599);
  });

  test('a header that cannot be sent is refused where it is written', () => {
    const wrong = (name: string, value: string) => () => json(1, { headers: { [name]: value } });
    expect(wrong('bad header', 'a')).toThrow('"bad header" is no header name');
    expect(wrong('x-a', 'a\nb: c')).toThrow('the value of header "x-a" has a line break');
    expect(wrong('X-Fine_1', 'ä b')()).toMatchObject({ status: 200 });
  });

  test('the others say what they are', () => {
    expect(body(html('<p>'))).toBe('<p>');
    expect(bytes(new Uint8Array([1])).body).toEqual(new Uint8Array([1]));
    expect(empty()).toEqual({ status: 204, headers: [] });
    expect(redirect('/x')).toEqual({ status: 302, headers: [{ name: 'location', value: '/x' }] });
  });
});

describe('toExecuteResponse', () => {
  test('takes a standard Response, with or without body', async () => {
    expect(body(await toExecuteResponse(new Response('hi', { status: 201 })))).toBe('hi');
    expect(await toExecuteResponse(new Response(null, { status: 204 }))).toEqual({
      status: 204,
      headers: [],
    });
  });

  test('takes null for no body, as older handlers return it', async () => {
    expect(await toExecuteResponse({ status: 200, headers: [], body: null })).toEqual({
      status: 200,
      headers: [],
    });
  });

  test.each([undefined, null, 'text', { ok: true }, 7])(
    'refuses %s and says what to return',
    async (value) => {
      await expect(toExecuteResponse(value)).rejects.toThrow(/must return json/);
    },
  );
});
