import { createLog } from './capabilities.js';
import { describeError, wrapped } from './errors.js';
import { isRunnableHandler } from './handler.js';
import { createHostBindings, type Handler } from './reference.js';
import { RequestBodyError } from './request.js';
import { json, toExecuteResponse } from './response.js';
import type { ExecuteRequest, ExecuteResponse, HostImports } from './wit.js';

/** Checks, once, that a module exported something that can answer requests. */
export function assertHandler(
  exported: unknown,
): asserts exported is (...args: never[]) => unknown {
  if (typeof exported === 'function') return;
  throw new TypeError(
    'The entry module must have a default export made by handler(…), for example: ' +
      "import { handler, json } from '@alga/extension-runtime'; " +
      'export default handler(async () => json({ ok: true }));',
  );
}

/**
 * Answers one request with the author's handler: one made by `handler()`, or a function
 * `(request, host)` in the reference's style. Never rejects: what the handler throws goes to the
 * log with its stack, to `onUncaught`, and to the caller as a 500 that says nothing about it.
 */
export async function execute(
  exported: (...args: never[]) => unknown,
  request: ExecuteRequest,
  imports: HostImports,
  onUncaught?: (thrown: unknown) => void,
): Promise<ExecuteResponse> {
  try {
    if (isRunnableHandler(exported)) return await exported(request, imports);
    const host = wrapped(createHostBindings(imports, request.context));
    return await toExecuteResponse(await (exported as Handler)(request, host));
  } catch (thrown) {
    onUncaught?.(thrown);
    return answerUncaught(thrown, request, imports);
  }
}

/** Writes what was thrown to the tenant's log, and answers without it. */
export function answerUncaught(
  thrown: unknown,
  request: ExecuteRequest,
  imports: HostImports,
): ExecuteResponse {
  const log = createLog(imports.logging);
  const details = { request_id: request.context.requestId ?? null };
  if (thrown instanceof RequestBodyError) {
    log.warn(describeError(thrown));
    const error = { code: 'extension.bad_request', message: thrown.message, ...details };
    return json({ error }, { status: 400 });
  }
  log.error(`Uncaught ${describeError(thrown)}`);
  const error = { code: 'extension.uncaught', message: 'The extension failed', ...details };
  return json({ error }, { status: 500 });
}
