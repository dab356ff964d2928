export { handler, isRunnableHandler } from './handler.js';
export type { HandlerContext, HandlerFunction, RunnableHandler } from './handler.js';
export type {
  Capabilities,
  Config,
  ExecutionContext,
  Http,
  ListOptions,
  Log,
  Secrets,
  Storage,
  Ui,
  User,
  WriteOptions,
} from './capabilities.js';
export {
  ConfigError,
  describeError,
  HostError,
  HttpError,
  ProxyError,
  SecretError,
  StorageError,
  UserError,
} from './errors.js';
export { ExtensionRequest, RequestBodyError, RequestHeaders } from './request.js';
export { bytes, empty, html, json, redirect, text } from './response.js';
export type { HandlerResult, HeaderInit, ResponseOptions } from './response.js';
export type { Fetch } from './fetch.js';
export { CAPABILITY_OF, WIT_VERSION } from './generated/capabilities.js';
export type { Capability, InterfaceName } from './generated/capabilities.js';
export { callProxyJson, emptyResponse, jsonResponse, normalizeUserData } from './reference.js';
export type { Handler, HostBindings, UiProxyHost } from './reference.js';
export { createMockHostBindings } from './testing/mock-host-bindings.js';
export type {
  ConfigErrorCode,
  ContextData,
  ExecuteRequest,
  ExecuteResponse,
  HostImports,
  HttpErrorCode,
  HttpHeader,
  HttpRequest,
  HttpResponse,
  LogLevel,
  ProxyErrorCode,
  SecretErrorCode,
  StorageEntry,
  StorageErrorCode,
  StoragePage,
  UserData,
  UserErrorCode,
} from './wit.js';
