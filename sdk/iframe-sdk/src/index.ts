export { IframeBridge, ProxyCallError } from './bridge.js';
export type { IframeBridgeOptions, ProxyCall } from './bridge.js';
export { callHandlerJson } from './handler-json.js';
export { applyTheme } from './theme.js';
export { parseHostMessage, PROTOCOL_VERSION } from './protocol.js';
export type {
  Bootstrap,
  ClientMessages,
  Envelope,
  HostEnvelope,
  HostMessages,
  ProxyAnswer,
  Session,
  ThemeTokens,
} from './protocol.js';
