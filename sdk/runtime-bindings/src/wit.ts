/// <reference path="../types/runner.d.ts" preserve="true" />

/**
 * The shapes of `wit/extension-runner.wit`, re-exported under plain names. The declarations
 * themselves are generated into `types/`.
 */
import type * as Config from 'alga:extension/config@1.0.0';
import type * as Context from 'alga:extension/context@1.0.0';
import type * as Http from 'alga:extension/http@1.0.0';
import type * as Logging from 'alga:extension/logging@1.0.0';
import type * as Secrets from 'alga:extension/secrets@1.0.0';
import type * as Storage from 'alga:extension/storage@1.0.0';
import type * as UiProxy from 'alga:extension/ui-proxy@1.0.0';
import type * as User from 'alga:extension/user@1.0.0';

export type {
  ContextData,
  ExecuteRequest,
  ExecuteResponse,
  HttpHeader,
  HttpRequest,
  HttpResponse,
} from 'alga:extension/types@1.0.0';
export type {
  ListOptions,
  PutOptions,
  StorageEntry,
  StoragePage,
  WriteCondition,
} from 'alga:extension/storage@1.0.0';
export type { LogLevel } from 'alga:extension/logging@1.0.0';
export type { UserData } from 'alga:extension/user@1.0.0';

export type ConfigErrorCode = Config.ConfigError;
export type HttpErrorCode = Http.HttpError;
export type ProxyErrorCode = UiProxy.ProxyError;
export type SecretErrorCode = Secrets.SecretError;
export type StorageErrorCode = Storage.StorageError;
export type UserErrorCode = User.UserError;

/**
 * The imported interfaces of a component, exactly as the engine hands them over: synchronous
 * functions that throw `{ payload: <error case> }`. An interface that the manifest does not ask
 * for is absent, because the world of the component does not import it.
 */
export interface HostImports {
  context?: Pick<typeof Context, 'getContext' | 'remainingTimeMs'>;
  config?: Pick<typeof Config, 'get' | 'entries'>;
  secrets?: Pick<typeof Secrets, 'get' | 'listKeys'>;
  http?: Pick<typeof Http, 'fetch'>;
  storage?: Pick<typeof Storage, 'get' | 'put' | 'delete' | 'listEntries'>;
  logging?: Pick<typeof Logging, 'log'>;
  uiProxy?: Pick<typeof UiProxy, 'callRoute'>;
  user?: Pick<typeof User, 'getUser'>;
}
