import {
  createContext,
  createElement,
  useContext,
  useEffect,
  useState,
  type ReactNode,
  type RefObject,
} from 'react';

import { IframeBridge, type IframeBridgeOptions } from './bridge.js';
import type { ThemeTokens } from './protocol.js';
import { applyTheme } from './theme.js';

interface BridgeState {
  bridge: IframeBridge;
  /** True once the host has answered. */
  ready: boolean;
}

const BridgeContext = createContext<BridgeState | undefined>(undefined);

/** Makes a bridge for the components below, tells the host that the page is ready, sets the theme. */
export function BridgeProvider(props: {
  options?: IframeBridgeOptions;
  /** A bridge made by the caller, who also disposes of it. */
  bridge?: IframeBridge;
  children?: ReactNode;
}): ReactNode {
  const { options, bridge: given, children } = props;
  const [state, setState] = useState<BridgeState>();
  useEffect(() => {
    const bridge = given ?? new IframeBridge(options);
    let current = true;
    setState({ bridge, ready: false });
    const stopTheme = bridge.subscribeTheme((theme) => applyTheme(theme));
    void bridge.ready().then(() => {
      if (current) setState({ bridge, ready: true });
    });
    return () => {
      current = false;
      stopTheme();
      if (given === undefined) bridge.dispose();
    };
    // The options are those of the first render: an origin does not change under a running page.
  }, [given]);
  if (state === undefined) return null;
  return createElement(BridgeContext.Provider, { value: state }, children);
}

function useBridgeState(): BridgeState {
  const state = useContext(BridgeContext);
  if (state === undefined) throw new Error('Use this hook below a <BridgeProvider>');
  return state;
}

/** The bridge to the host. */
export function useBridge(): IframeBridge {
  return useBridgeState().bridge;
}

/** Whether the host has answered. */
export function useReady(): boolean {
  return useBridgeState().ready;
}

/** The host's theme; empty until it is known. */
export function useTheme(): ThemeTokens {
  const { bridge } = useBridgeState();
  const [theme, setTheme] = useState<ThemeTokens>({});
  useEffect(() => bridge.subscribeTheme(setTheme), [bridge]);
  return theme;
}

/** The token of the user's session; undefined until the host has answered, and after its end. */
export function useAuthToken(): string | undefined {
  return useBridgeState().bridge.getToken();
}

/** Keeps the frame as high as an element. */
export function useResize(element: RefObject<HTMLElement | null>): void {
  const { bridge } = useBridgeState();
  useEffect(() => {
    const node = element.current;
    if (node === null || typeof ResizeObserver === 'undefined') return undefined;
    const observer = new ResizeObserver(() => bridge.resize(node.scrollHeight));
    observer.observe(node);
    return () => observer.disconnect();
  }, [bridge, element]);
}
