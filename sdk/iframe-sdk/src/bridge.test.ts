// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { IframeBridge, ProxyCallError, type IframeBridgeOptions } from './bridge.js';
import { callHandlerJson } from './handler-json.js';
import { applyTheme } from './theme.js';

const HOST = 'https://app.example.com';
const BOOTSTRAP = {
  session: { token: 'tok', expires_at: '2999-01-01T00:00:00Z' },
  theme_tokens: { '--alga-primary': '#123456' },
  navigation: { path: '/' },
};

interface Sent {
  message: { type: string; payload: Record<string, unknown>; request_id?: string };
  origin: string;
}

/** A page in a frame, and the host's end of the line. */
function embed(search = `?parentOrigin=${encodeURIComponent(HOST)}`, ancestor: string = HOST) {
  const sent: Sent[] = [];
  const parent = {
    postMessage: (message: Sent['message'], origin: string) => sent.push({ message, origin }),
  };
  const page = new EventTarget() as unknown as Window & { parent: unknown };
  Object.assign(page, {
    parent,
    location: { search, ancestorOrigins: [ancestor] },
    document: { referrer: '' },
  });
  const receive = (data: unknown, origin = HOST, source: unknown = parent) => {
    const event = new Event('message');
    Object.assign(event, { data, origin, source });
    page.dispatchEvent(event);
  };
  const host = (type: string, payload: unknown, requestId?: string, origin = HOST) =>
    receive({ alga: true, version: '1', type, payload, request_id: requestId }, origin);
  return { page, sent, host, receive };
}

const bridges: IframeBridge[] = [];
function connect(frame: ReturnType<typeof embed>, options: IframeBridgeOptions = {}): IframeBridge {
  const bridge = new IframeBridge({ window: frame.page, ...options });
  bridges.push(bridge);
  return bridge;
}

afterEach(() => {
  for (const bridge of bridges.splice(0)) bridge.dispose();
});

describe('the origin of the host', () => {
  test('comes from the query when the browser agrees', () => {
    expect(connect(embed()).parentOrigin).toBe(HOST);
  });

  test('is refused when somebody else embeds the page', () => {
    expect(() => connect(embed(undefined, 'https://evil.example'))).toThrow(
      /embedded by https:\/\/evil/,
    );
  });

  test.each([
    'http://app.example.com',
    'https://app.example.com/path',
    '*',
    'null',
    'javascript:alert(1)',
  ])('%s is refused', (origin) => {
    expect(() => connect(embed(`?parentOrigin=${encodeURIComponent(origin)}`))).toThrow(
      /https origin/,
    );
  });

  test('loopback may be plain http, for development', () => {
    const origin = 'http://127.0.0.1:3210';
    const frame = embed(`?parentOrigin=${encodeURIComponent(origin)}`, origin);
    expect(connect(frame).parentOrigin).toBe(origin);
  });

  test('unknown is refused, unless a wildcard is asked for by name', () => {
    expect(() => connect(embed(''))).toThrow(/unknown/);
    expect(connect(embed(''), { devAllowWildcard: true }).parentOrigin).toBe('*');
  });

  test('a page that is not embedded has no host', () => {
    const frame = embed();
    Object.assign(frame.page, { parent: frame.page });
    expect(() => connect(frame)).toThrow(/not embedded/);
  });
});

describe('IframeBridge', () => {
  let frame: ReturnType<typeof embed>;
  let bridge: IframeBridge;

  beforeEach(() => {
    frame = embed();
    bridge = connect(frame);
  });

  test('says ready to the host only, and gets session and theme', async () => {
    const ready = bridge.ready();
    expect(frame.sent).toEqual([
      { message: { alga: true, version: '1', type: 'ready', payload: {} }, origin: HOST },
    ]);
    expect(bridge.getToken()).toBeUndefined();
    frame.host('bootstrap', BOOTSTRAP);
    expect(await ready).toEqual(BOOTSTRAP);
    expect(bridge.getToken()).toBe('tok');
  });

  test('a token is gone when its time is over', () => {
    const session = { token: 'old', expires_at: '2001-01-01T00:00:00Z' };
    frame.host('bootstrap', { ...BOOTSTRAP, session });
    expect(bridge.getToken()).toBeUndefined();
  });

  test('ignores other origins, other windows, other protocols and incomplete messages', () => {
    frame.host('bootstrap', BOOTSTRAP, undefined, 'https://evil.example');
    frame.receive({ alga: true, version: '1', type: 'bootstrap', payload: BOOTSTRAP }, HOST, {});
    frame.receive({ alga: true, version: '2', type: 'bootstrap', payload: BOOTSTRAP });
    frame.receive({ type: 'bootstrap', payload: BOOTSTRAP });
    frame.receive('bootstrap');
    frame.host('bootstrap', { ...BOOTSTRAP, session: {} });
    expect(bridge.getToken()).toBeUndefined();
  });

  test('calls the handler and reads the bytes of the answer', async () => {
    const call = bridge.callProxy('/x', { body: new Uint8Array([0, 255]) });
    const { message } = frame.sent[0]!;
    expect(message).toMatchObject({
      type: 'apiproxy',
      payload: { route: '/x', method: 'POST', body: 'AP8=' },
    });
    frame.host('apiproxy_response', { body: 'AQI=' }, 'somebody-else');
    frame.host('apiproxy_response', { body: 'AQI=' }, message.request_id);
    expect(await call).toEqual(new Uint8Array([1, 2]));
  });

  test('a refusal of the host is an error with its words', async () => {
    const call = bridge.callProxy('/x');
    frame.host('apiproxy_response', { error: 'denied' }, frame.sent[0]!.message.request_id);
    await expect(call).rejects.toThrow(new ProxyCallError('denied'));
  });

  test('a host that does not answer is given up on', async () => {
    vi.useFakeTimers();
    try {
      const call = bridge.callProxy('/slow');
      const settled = expect(call).rejects.toThrow(/no answer within 15000 ms/);
      await vi.advanceTimersByTimeAsync(15_000);
      await settled;
    } finally {
      vi.useRealTimers();
    }
  });

  test('refuses a body with GET, and routes that are none', async () => {
    const body = new Uint8Array([1]);
    await expect(bridge.callProxy('/x', { method: 'get', body })).rejects.toThrow(TypeError);
    await expect(bridge.callProxy('https://a.example/')).rejects.toThrow(TypeError);
    expect(frame.sent).toHaveLength(0);
  });

  test('sends a height that the host accepts', () => {
    for (const height of [1, 500.2, 99_999]) bridge.resize(height);
    expect(frame.sent.map(({ message }) => message.payload['height'])).toEqual([100, 501, 4000]);
    expect(() => bridge.resize(Number.NaN)).toThrow(RangeError);
  });

  test('tells listeners about the theme until they leave', () => {
    const seen: unknown[] = [];
    const stop = bridge.subscribeTheme((theme) => seen.push(theme));
    frame.host('theme', { '--alga-primary': 'red' });
    stop();
    frame.host('theme', { '--alga-primary': 'blue' });
    expect(seen).toEqual([{ '--alga-primary': 'red' }]);
  });

  test('speaks JSON with the handler', async () => {
    const call = callHandlerJson(bridge, '/json', { body: { a: 1 } });
    const { message } = frame.sent[0]!;
    expect(atob(String(message.payload['body']))).toBe('{"a":1}');
    frame.host('apiproxy_response', { body: btoa('{"ok":true}') }, message.request_id);
    expect(await call).toEqual({ ok: true });
  });

  test('disposing rejects what waits and stops listening', async () => {
    const call = bridge.callProxy('/x');
    bridge.dispose();
    await expect(call).rejects.toThrow(/disposed/);
    frame.host('bootstrap', BOOTSTRAP);
    expect(bridge.getToken()).toBeUndefined();
  });
});

test('applyTheme sets the properties of the host and no others', () => {
  const element = document.createElement('div');
  applyTheme({ '--alga-primary': 'red', '--mine': 'blue', color: 'green' }, element);
  expect(element.style.getPropertyValue('--alga-primary')).toBe('red');
  expect(element.getAttribute('style')).toBe('--alga-primary: red;');
});
