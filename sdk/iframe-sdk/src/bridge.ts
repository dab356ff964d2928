import { decodeBase64, encodeBase64 } from './base64.js';
import {
  parseHostMessage,
  PROTOCOL_VERSION,
  type Bootstrap,
  type ClientMessages,
  type HostEnvelope,
  type ProxyAnswer,
  type Session,
  type ThemeTokens,
} from './protocol.js';

/** A call of the handler that did not succeed. */
export class ProxyCallError extends Error {
  override readonly name = 'ProxyCallError';
}

export interface IframeBridgeOptions {
  /**
   * Origin of the host page, for example `https://app.example.com`. Without it the origin comes from the query
   * parameter `parentOrigin`, which must then agree with what the browser knows about the parent.
   */
  expectedParentOrigin?: string;
  /**
   * Talks to a parent of any origin. For development only: any page could then embed this one and
   * call its handler. Never on by default.
   */
  devAllowWildcard?: boolean;
  /** Milliseconds that a call of the handler may take; 15 seconds when left out. */
  callTimeoutMs?: number;
  /** The page's window; tests give their own. */
  window?: Window;
}

export interface ProxyCall {
  /** HTTP method; GET without and POST with a body when left out. */
  method?: string;
  body?: Uint8Array;
}

interface PendingCall {
  resolve: (body: Uint8Array) => void;
  reject: (error: Error) => void;
  timer: ReturnType<typeof setTimeout>;
}

/** What the host page accepts as the height of the frame, in CSS pixels. */
const HEIGHT = { min: 100, max: 4000 };

/**
 * The extension page's end of the line to the host page. Messages of any other window or origin are
 * ignored, and nothing is ever sent to another one.
 */
export class IframeBridge {
  readonly parentOrigin: string;
  readonly #window: Window;
  readonly #timeout: number;
  readonly #pending = new Map<string, PendingCall>();
  readonly #themeListeners = new Set<(theme: ThemeTokens) => void>();
  readonly #receive = (event: MessageEvent): void => this.#onMessage(event);
  readonly #bootstrap: Promise<Bootstrap>;
  #resolveBootstrap: (bootstrap: Bootstrap) => void = () => undefined;
  #session: Session | undefined;
  #theme: ThemeTokens | undefined;
  #disposed = false;

  /** Throws an Error when the page is not embedded or the parent's origin is not acceptable. */
  constructor(options: IframeBridgeOptions = {}) {
    this.#window = options.window ?? window;
    if (this.#window.parent === this.#window) {
      throw new Error('This page is not embedded: there is no host page to talk to');
    }
    this.parentOrigin = findParentOrigin(this.#window, options);
    this.#timeout = options.callTimeoutMs ?? 15_000;
    this.#bootstrap = new Promise((resolve) => (this.#resolveBootstrap = resolve));
    this.#window.addEventListener('message', this.#receive);
  }

  /** Tells the host that the page is ready and waits for its first message. */
  async ready(): Promise<Bootstrap> {
    this.#send('ready', {});
    return this.#bootstrap;
  }

  /** The token of the user's session with the host, once the host has sent one. */
  getToken(): string | undefined {
    const session = this.#session;
    return session !== undefined && Date.parse(session.expires_at) > Date.now()
      ? session.token
      : undefined;
  }

  /** Asks the host to open one of its pages. */
  navigate(path: string): void {
    this.#send('navigate', { path });
  }

  /** Asks for a frame of this height, within the 100 to 4,000 pixels that the host accepts. */
  resize(height: number): void {
    if (!Number.isFinite(height)) throw new RangeError('The height must be a number');
    this.#send('resize', { height: Math.min(HEIGHT.max, Math.max(HEIGHT.min, Math.ceil(height))) });
  }

  /** Calls `listener` with the theme, now when it is known, and on every change. Returns its end. */
  subscribeTheme(listener: (theme: ThemeTokens) => void): () => void {
    this.#themeListeners.add(listener);
    if (this.#theme !== undefined) listener(this.#theme);
    return () => this.#themeListeners.delete(listener);
  }

  /**
   * Calls a route of the extension's own handler through the host. Rejects with ProxyCallError when
   * the host or the handler refuses, and after the time limit.
   */
  callProxy(route: string, call: ProxyCall = {}): Promise<Uint8Array> {
    if (!route.startsWith('/')) return Promise.reject(new TypeError('A route starts with "/"'));
    const method = (call.method ?? (call.body === undefined ? 'GET' : 'POST')).toUpperCase();
    if (call.body !== undefined && (method === 'GET' || method === 'HEAD')) {
      return Promise.reject(new TypeError(`${method} has no body`));
    }
    if (this.#disposed) return Promise.reject(new ProxyCallError('The bridge was disposed of'));
    const id = crypto.randomUUID();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new ProxyCallError(`${method} ${route}: no answer within ${this.#timeout} ms`));
      }, this.#timeout);
      this.#pending.set(id, { resolve, reject, timer });
      const body = call.body === undefined ? {} : { body: encodeBase64(call.body) };
      this.#send('apiproxy', { route, method, ...body }, id);
    });
  }

  /** The reference's name for `callProxy` with a payload. */
  readonly uiProxy = {
    callRoute: (route: string, payload?: Uint8Array | null): Promise<Uint8Array> =>
      this.callProxy(route, payload == null ? {} : { body: payload }),
    call: (route: string, payload?: Uint8Array | null): Promise<Uint8Array> =>
      this.uiProxy.callRoute(route, payload),
  };

  /** Stops listening; calls that wait are rejected. */
  dispose(): void {
    this.#disposed = true;
    this.#window.removeEventListener('message', this.#receive);
    this.#themeListeners.clear();
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(new ProxyCallError('The bridge was disposed of'));
    }
    this.#pending.clear();
  }

  #send<Type extends keyof ClientMessages>(
    type: Type,
    payload: ClientMessages[Type],
    requestId?: string,
  ): void {
    const id = requestId === undefined ? {} : { request_id: requestId };
    const message = { alga: true, version: PROTOCOL_VERSION, type, payload, ...id };
    this.#window.parent.postMessage(message, this.parentOrigin);
  }

  #onMessage(event: MessageEvent): void {
    if (event.source !== this.#window.parent) return;
    if (this.parentOrigin !== '*' && event.origin !== this.parentOrigin) return;
    const message = parseHostMessage(event.data);
    if (message !== undefined) this.#handle(message);
  }

  #handle(message: HostEnvelope): void {
    switch (message.type) {
      case 'bootstrap':
        this.#session = message.payload.session;
        this.#setTheme(message.payload.theme_tokens);
        this.#resolveBootstrap(message.payload);
        break;
      case 'theme':
        this.#setTheme(message.payload);
        break;
      case 'apiproxy_response':
        this.#settle(message.request_id, message.payload);
        break;
    }
  }

  #setTheme(theme: ThemeTokens): void {
    this.#theme = theme;
    for (const listener of this.#themeListeners) listener(theme);
  }

  #settle(id: string | undefined, answer: ProxyAnswer): void {
    const call = id === undefined ? undefined : this.#pending.get(id);
    if (id === undefined || call === undefined) return;
    this.#pending.delete(id);
    clearTimeout(call.timer);
    if ('error' in answer) {
      call.reject(new ProxyCallError(answer.error));
      return;
    }
    try {
      call.resolve(decodeBase64(answer.body));
    } catch {
      call.reject(new ProxyCallError('The host sent a body that is not base64'));
    }
  }
}

function findParentOrigin(page: Window, options: IframeBridgeOptions): string {
  if (options.expectedParentOrigin !== undefined) return checkOrigin(options.expectedParentOrigin);
  const named = new URLSearchParams(page.location.search).get('parentOrigin');
  if (named === null) {
    if (options.devAllowWildcard === true) return '*';
    throw new Error(
      'The origin of the host page is unknown: give expectedParentOrigin, or let the host add ?parentOrigin=',
    );
  }
  const origin = checkOrigin(named);
  // Whoever embeds the page writes the query; the browser knows who that really is.
  const known = knownParentOrigin(page);
  if (known !== undefined && known !== origin) {
    throw new Error(`The page is embedded by ${known}, not by ${origin}`);
  }
  return origin;
}

function knownParentOrigin(page: Window): string | undefined {
  const ancestors = (page.location as { ancestorOrigins?: DOMStringList }).ancestorOrigins;
  if (ancestors !== undefined && ancestors.length > 0) return ancestors[0];
  const { referrer } = page.document;
  return referrer === '' ? undefined : new URL(referrer).origin;
}

/** Only whole origins, and only those that nobody on the way can impersonate. */
function checkOrigin(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const loopback = /^(localhost|127\.0\.0\.1|\[::1\])$/.test(url?.hostname ?? '');
  const secure = url?.protocol === 'https:' || (url?.protocol === 'http:' && loopback);
  if (url === undefined || !secure || url.origin !== text.replace(/\/$/, '')) {
    throw new Error(`"${text}" is not an https origin`);
  }
  return url.origin;
}
