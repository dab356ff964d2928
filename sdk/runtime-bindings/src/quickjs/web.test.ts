import { describe, expect, test } from 'vitest';

import { FetchRequest, FetchResponse, HeaderFields } from './http.js';
import { SearchParams } from './search-params.js';
import { Utf8Decoder, Utf8Encoder } from './text.js';
import { HttpUrl } from './url.js';

/** Numbers from 0 to 1 that are the same in every run (mulberry32). */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe('text, against the encoder and the decoder of Node', () => {
  test('encodes every kind of character, and lone surrogates', () => {
    for (const text of [
      '',
      'plain',
      'Ärger €',
      '😀 x',
      'a\ud800b',
      '\udc00',
      '\ud800\ud800\udc00',
    ]) {
      expect(new Utf8Encoder().encode(text)).toEqual(new TextEncoder().encode(text));
    }
    expect(new Utf8Encoder().encode('ä'.repeat(9_000)).length).toBe(18_000);
    const target = new Uint8Array(4);
    expect(new Utf8Encoder().encodeInto('aä€', target)).toEqual(
      new TextEncoder().encodeInto('aä€', new Uint8Array(4)),
    );
  });

  test('decodes random bytes alike, and refuses the same of them', () => {
    const next = numbers(1);
    for (let round = 0; round < 3_000; round += 1) {
      const bytes = Uint8Array.from({ length: 1 + Math.floor(next() * 12) }, () =>
        next() < 0.4 ? Math.floor(next() * 128) : 0x80 + Math.floor(next() * 128),
      );
      expect(new Utf8Decoder().decode(bytes)).toBe(new TextDecoder().decode(bytes));
      const strict = (decoder: { decode(bytes: Uint8Array): string }) => {
        try {
          return decoder.decode(bytes);
        } catch {
          return 'refused';
        }
      };
      expect(strict(new Utf8Decoder('utf-8', { fatal: true }))).toBe(
        strict(new TextDecoder('utf-8', { fatal: true })),
      );
    }
  });

  test('drops one byte order mark, and refuses other encodings by name', () => {
    const marked = new TextEncoder().encode('\ufeff\ufeffx');
    expect(new Utf8Decoder().decode(marked)).toBe(new TextDecoder().decode(marked));
    expect(new Utf8Decoder().decode(marked.buffer.slice(0))).toBe('\ufeffx');
    expect(() => new Utf8Decoder('latin1')).toThrow('--engine starlingmonkey');
    expect(new Utf8Decoder().decode(new Uint8Array(10_000).fill(0x61)).length).toBe(10_000);
  });
});

describe('query parameters, against those of Node', () => {
  test.each(['', '?a=1&b=2', 'a=1&a=2&=x&y', 'q=%C3%A4+b%2', 'x=%F0%9F', '&&a==b', 'a=+%20%2B'])(
    '%j',
    (query) => {
      const [ours, theirs] = [new SearchParams(query), new URLSearchParams(query)];
      expect([...ours]).toEqual([...theirs]);
      expect(ours.toString()).toBe(theirs.toString());
      for (const params of [ours, theirs]) {
        params.append('new', 'ä &=');
        params.set('a', '\ud800');
        params.delete('y');
        params.sort();
      }
      expect(ours.toString()).toBe(theirs.toString());
      expect([ours.get('a'), ours.getAll('a'), ours.has('b'), ours.size]).toEqual([
        theirs.get('a'),
        theirs.getAll('a'),
        theirs.has('b'),
        theirs.size,
      ]);
    },
  );

  test('takes objects and pairs', () => {
    expect(new SearchParams({ a: 1, b: 'x y' }).toString()).toBe('a=1&b=x+y');
    expect(new SearchParams([['a', '1']]).toString()).toBe('a=1');
    expect(() => new SearchParams([['a']])).toThrow(TypeError);
  });
});

describe('URLs, against those of Node', () => {
  const parts = (url: URL | HttpUrl) => {
    const { href, origin, protocol, host, hostname, port, pathname, search, hash } = url;
    return { href, origin, protocol, host, hostname, port, pathname, search, hash };
  };

  test.each([
    ['https://example.com'],
    ['HTTPS://Ann:s%20e@EXAMPLE.com:443/a/../b/./c?q=ä#f g'],
    ['http://example.com:8080/%2e%2e/x//y/'],
    ['http:\\\\example.com\\a'],
    ['  http://127.0.0.1:80/p?x=\'"<>\n '],
    ['http:///example.com/x'],
    ['/x/y?z', 'https://a.example/b/c?d#e'],
    ['../y', 'https://a.example/b/c/d'],
    ['..', 'https://a.example/b/c/d'],
    ['?n', 'https://a.example/b/c?d#e'],
    ['#n', 'https://a.example/b/c?d#e'],
    ['', 'https://a.example/b/c?d#e'],
    ['//b.example/x', 'https://a.example/'],
    ['http:x', 'http://a.example/b/c'],
    ['y z{}`|', 'https://a.example/b/c'],
    ['https://user@a.example'],
    ['https://a.example./x'],
  ])('%j %j', (input: string, base?: string) => {
    expect(parts(new HttpUrl(input, base))).toEqual(parts(new URL(input, base)));
  });

  test.each([
    ['relative'],
    ['http://'],
    ['https://a b.example/'],
    ['https://a.example:x/'],
    ['https://a.example:99999/'],
    ['https://a%2fb.example/'],
    ['https://a<b.example/'],
  ])('refuses %j, as Node does', (input) => {
    expect(() => new URL(input)).toThrow(TypeError);
    expect(() => new HttpUrl(input)).toThrow(TypeError);
    expect(HttpUrl.canParse(input)).toBe(false);
  });

  test.each([
    ['ftp://a.example/', 'http and https only'],
    ['https://bücher.example/', 'ASCII'],
    ['https://xn--bcher-kva.example/', 'internationalised'],
    ['https://[::1]/', 'IPv6'],
    ['https://0x7f.1/', 'four decimal parts'],
  ])('refuses %j, which Node takes, and says why', (input, why) => {
    expect(URL.canParse(input)).toBe(true);
    expect(() => new HttpUrl(input)).toThrow(why);
  });

  test('changes with its parameters and its parts', () => {
    const [ours, theirs] = [
      new HttpUrl('https://a.example/x?a=1'),
      new URL('https://a.example/x?a=1'),
    ];
    for (const url of [ours, theirs]) {
      url.searchParams.set('b', 'ä');
      url.pathname = 'p q/../r';
      url.hash = 'h';
    }
    expect(ours.href).toBe(theirs.href);
    ours.search = '?z=1';
    expect(ours.searchParams.get('z')).toBe('1');
    expect(JSON.stringify({ ours })).toBe('{"ours":"https://a.example/r?z=1#h"}');
  });
});

describe('Headers, Request and Response', () => {
  test('headers compare names without case, join values and sort', () => {
    const [ours, theirs] = [HeaderFields, Headers].map((Type) => {
      const headers = new Type([
        ['X-B', ' 1 '],
        ['Set-Cookie', 'a=1'],
        ['x-b', '2'],
      ]);
      headers.append('Set-Cookie', 'b=2');
      headers.set('A', 'z');
      return [...headers];
    });
    expect(ours).toEqual(theirs);
    for (const bad of [
      ['a b', 'x'],
      ['a', 'x\ny'],
      ['a', '€'],
    ]) {
      expect(() => new HeaderFields([bad])).toThrow(TypeError);
    }
  });

  test('a response is read once, in every form', async () => {
    const response = new FetchResponse('{"a":"ä"}', { status: 201, headers: { 'X-A': 'b' } });
    const copy = response.clone();
    expect(await response.json()).toEqual({ a: 'ä' });
    await expect(response.text()).rejects.toThrow('read already');
    expect([copy.ok, copy.status, copy.headers.get('x-a')]).toEqual([true, 201, 'b']);
    expect(await copy.text()).toBe('{"a":"ä"}');
    expect(await FetchResponse.json([1]).arrayBuffer()).toEqual(
      new TextEncoder().encode('[1]').buffer,
    );
    expect(FetchResponse.redirect('https://a.example', 303).headers.get('location')).toBe(
      'https://a.example/',
    );
    await expect(copy.clone.call(new FetchResponse('x')).formData()).rejects.toThrow(
      'starlingmonkey',
    );
    expect(() => new FetchResponse(null, { status: 204 }).body).not.toThrow();
    expect(() => new FetchResponse('x', { status: 204 })).toThrow(TypeError);
  });

  test('a request knows its type, and refuses what the standard refuses', async () => {
    const request = new FetchRequest('https://a.example/x', {
      method: 'post',
      body: new SearchParams('a=1'),
    });
    expect([request.method, request.url]).toEqual(['POST', 'https://a.example/x']);
    expect(request.headers.get('content-type')).toContain('x-www-form-urlencoded');
    expect(await request.clone().text()).toBe('a=1');
    expect(() => new FetchRequest('https://a.example', { body: 'x' })).toThrow('GET has no body');
    expect(() => new FetchRequest('/relative')).toThrow('relative');
    expect(() => new FetchRequest('https://a.example', { method: 'a b' })).toThrow('not a method');
  });
});
