/** Version 1 of the messages between a host page and an extension's page. */
export const PROTOCOL_VERSION = '1';

/** Values for CSS custom properties, by name (`--alga-primary`). */
export type ThemeTokens = Record<string, string>;

export interface Session {
  token: string;
  /** When the token ends, as an ISO 8601 time. */
  expires_at: string;
}

export interface Bootstrap {
  session: Session;
  theme_tokens: ThemeTokens;
  navigation: { path: string };
}

export type ProxyAnswer = { body: string } | { error: string };

/** What the host sends, by type. */
export interface HostMessages {
  bootstrap: Bootstrap;
  theme: ThemeTokens;
  apiproxy_response: ProxyAnswer;
}

/** What an extension's page sends, by type. */
export interface ClientMessages {
  ready: Record<string, never>;
  resize: { height: number };
  navigate: { path: string };
  apiproxy: { route: string; method?: string; body?: string };
}

export interface Envelope<Type extends string, Payload> {
  alga: true;
  version: typeof PROTOCOL_VERSION;
  type: Type;
  request_id?: string;
  payload: Payload;
}

export type HostEnvelope = {
  [Type in keyof HostMessages]: Envelope<Type, HostMessages[Type]>;
}[keyof HostMessages];

/**
 * Reads a message that came from the host's window. Undefined for everything that is not a
 * complete message of this protocol and version: other scripts use `postMessage` too.
 */
export function parseHostMessage(data: unknown): HostEnvelope | undefined {
  if (!isRecord(data) || data['alga'] !== true || data['version'] !== PROTOCOL_VERSION) {
    return undefined;
  }
  const { type, payload, request_id: requestId } = data;
  if (!isRecord(payload)) return undefined;
  if (requestId !== undefined && typeof requestId !== 'string') return undefined;
  const id = requestId === undefined ? {} : { request_id: requestId };
  const head = { alga: true, version: PROTOCOL_VERSION, ...id } as const;
  switch (type) {
    case 'bootstrap':
      return isBootstrap(payload) ? { ...head, type, payload } : undefined;
    case 'theme':
      return isTheme(payload) ? { ...head, type, payload } : undefined;
    case 'apiproxy_response':
      return isProxyAnswer(payload) ? { ...head, type, payload } : undefined;
    default:
      return undefined;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isTheme(value: unknown): value is ThemeTokens {
  return isRecord(value) && Object.values(value).every((token) => typeof token === 'string');
}

function isBootstrap(value: Record<string, unknown>): value is Record<string, unknown> & Bootstrap {
  const { session, theme_tokens: theme, navigation } = value;
  return (
    isRecord(session) &&
    typeof session['token'] === 'string' &&
    typeof session['expires_at'] === 'string' &&
    isTheme(theme) &&
    isRecord(navigation) &&
    typeof navigation['path'] === 'string'
  );
}

function isProxyAnswer(
  value: Record<string, unknown>,
): value is Record<string, unknown> & ProxyAnswer {
  return typeof value['body'] === 'string' || typeof value['error'] === 'string';
}
