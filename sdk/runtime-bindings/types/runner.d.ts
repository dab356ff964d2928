/// <reference path="./interfaces/alga-extension-config.d.ts" />
/// <reference path="./interfaces/alga-extension-context.d.ts" />
/// <reference path="./interfaces/alga-extension-http.d.ts" />
/// <reference path="./interfaces/alga-extension-logging.d.ts" />
/// <reference path="./interfaces/alga-extension-secrets.d.ts" />
/// <reference path="./interfaces/alga-extension-storage.d.ts" />
/// <reference path="./interfaces/alga-extension-types.d.ts" />
/// <reference path="./interfaces/alga-extension-ui-proxy.d.ts" />
/// <reference path="./interfaces/alga-extension-user.d.ts" />
declare module 'alga:extension/runner@1.0.0' {
  export type ExecuteRequest = import('alga:extension/types@1.0.0').ExecuteRequest;
  export type ExecuteResponse = import('alga:extension/types@1.0.0').ExecuteResponse;
  export type * as AlgaExtensionConfig100 from 'alga:extension/config@1.0.0'; // import alga:extension/config@1.0.0
  export type * as AlgaExtensionContext100 from 'alga:extension/context@1.0.0'; // import alga:extension/context@1.0.0
  export type * as AlgaExtensionHttp100 from 'alga:extension/http@1.0.0'; // import alga:extension/http@1.0.0
  export type * as AlgaExtensionLogging100 from 'alga:extension/logging@1.0.0'; // import alga:extension/logging@1.0.0
  export type * as AlgaExtensionSecrets100 from 'alga:extension/secrets@1.0.0'; // import alga:extension/secrets@1.0.0
  export type * as AlgaExtensionStorage100 from 'alga:extension/storage@1.0.0'; // import alga:extension/storage@1.0.0
  export type * as AlgaExtensionTypes100 from 'alga:extension/types@1.0.0'; // import alga:extension/types@1.0.0
  export type * as AlgaExtensionUiProxy100 from 'alga:extension/ui-proxy@1.0.0'; // import alga:extension/ui-proxy@1.0.0
  export type * as AlgaExtensionUser100 from 'alga:extension/user@1.0.0'; // import alga:extension/user@1.0.0
  export function handler(request: ExecuteRequest): ExecuteResponse;
}
