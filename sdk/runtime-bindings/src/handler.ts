import { createCapabilities, type Capabilities } from './capabilities.js';
import { wrapped } from './errors.js';
import { ExtensionRequest } from './request.js';
import { toExecuteResponse, type HandlerResult } from './response.js';
import type { ExecuteRequest, ExecuteResponse, HostImports } from './wit.js';

/** Everything a handler gets: the request, and the capabilities of the install. */
export interface HandlerContext extends Capabilities {
  request: ExtensionRequest;
}

export type HandlerFunction = (context: HandlerContext) => HandlerResult | Promise<HandlerResult>;

const BRAND = Symbol.for('@alga/extension-runtime/handler');

/** A handler that knows how to run on a set of host imports: a component's, or a test's. */
export interface RunnableHandler {
  (request: ExecuteRequest, imports: HostImports): Promise<ExecuteResponse>;
  readonly [BRAND]: true;
}

/**
 * Makes an extension out of a function:
 *
 *     export default handler(async ({ request, secrets, http }) => json({ ok: true }));
 *
 * Whatever the function throws reaches the tenant's log with its stack; the caller gets a 500
 * that says nothing about it (a RequestBodyError gets a 400).
 */
export function handler(run: HandlerFunction): RunnableHandler {
  const runnable = async (
    request: ExecuteRequest,
    imports: HostImports,
  ): Promise<ExecuteResponse> => {
    const capabilities = wrapped(createCapabilities(imports, request.context));
    const result = await run({ ...capabilities, request: new ExtensionRequest(request) });
    return toExecuteResponse(result);
  };
  return Object.assign(runnable, { [BRAND]: true as const });
}

/** Whether `value` was made by `handler()`, by this copy of the package or by another. */
export function isRunnableHandler(value: unknown): value is RunnableHandler {
  return typeof value === 'function' && BRAND in value;
}
