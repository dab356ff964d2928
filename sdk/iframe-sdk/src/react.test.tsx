// @vitest-environment jsdom
import { act, useRef } from 'react';
import { createRoot, type Root } from 'react-dom/client';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import type { IframeBridge } from './bridge.js';
import type { Bootstrap, ThemeTokens } from './protocol.js';
import { BridgeProvider, useAuthToken, useReady, useResize, useTheme } from './react.js';

Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });

let root: Root;
let element: HTMLElement;

beforeEach(() => {
  element = document.createElement('div');
  root = createRoot(element);
});

afterEach(async () => {
  await act(async () => root.unmount());
  vi.unstubAllGlobals();
});

/** A bridge whose host answers when the test says so. */
function fakeBridge() {
  let answer: (bootstrap: Bootstrap) => void = () => undefined;
  const ready = new Promise<Bootstrap>((resolve) => (answer = resolve));
  const listeners = new Set<(theme: ThemeTokens) => void>();
  const bridge = {
    token: undefined as string | undefined,
    heights: [] as number[],
    ready: () => ready,
    getToken: () => bridge.token,
    resize: (height: number) => void bridge.heights.push(height),
    subscribeTheme: (listener: (theme: ThemeTokens) => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    theme: (theme: ThemeTokens) => listeners.forEach((listener) => listener(theme)),
    answer: () =>
      answer({
        session: { token: '', expires_at: '' },
        theme_tokens: {},
        navigation: { path: '/' },
      }),
  };
  return bridge;
}

function Page() {
  const ready = useReady();
  const token = useAuthToken() ?? 'none';
  const theme = useTheme();
  return <p>{`${String(ready)} ${token} ${theme['--alga-primary'] ?? '-'}`}</p>;
}

test('components follow the host: ready, token, theme', async () => {
  const bridge = fakeBridge();
  await act(async () =>
    root.render(
      <BridgeProvider bridge={bridge as unknown as IframeBridge}>
        <Page />
      </BridgeProvider>,
    ),
  );
  expect(element.textContent).toBe('false none -');
  await act(async () => {
    bridge.token = 'tok';
    bridge.theme({ '--alga-primary': 'red' });
    bridge.answer();
  });
  expect(element.textContent).toBe('true tok red');
  expect(document.documentElement.style.getPropertyValue('--alga-primary')).toBe('red');
});

test('useResize sends the height of the element whenever it changes', async () => {
  let observe: (() => void) | undefined;
  vi.stubGlobal(
    'ResizeObserver',
    class {
      constructor(callback: () => void) {
        observe = callback;
      }
      observe() {
        observe?.();
      }
      disconnect() {
        observe = undefined;
      }
    },
  );
  const bridge = fakeBridge();
  function Sized() {
    const reference = useRef<HTMLDivElement>(null);
    useResize(reference);
    return <div ref={reference} />;
  }
  await act(async () =>
    root.render(
      <BridgeProvider bridge={bridge as unknown as IframeBridge}>
        <Sized />
      </BridgeProvider>,
    ),
  );
  expect(bridge.heights).toEqual([0]);
  await act(async () => root.render(null));
  expect(observe).toBeUndefined();
});

test('a hook outside of a provider says what is missing', async () => {
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
  await expect(act(async () => root.render(<Page />))).rejects.toThrow(/BridgeProvider/);
});
