import { answerUncaught } from '../execute.js';
import { createLog } from '../capabilities.js';
import { connect } from '../guest/index.js';
import { reportUnwatched } from '../guest/unwatched.js';
import type { ExecuteRequest, ExecuteResponse, HostImports } from '../wit.js';
import { loop, random } from './environment.js';
import { adaptImports, adaptRequest } from './imports.js';
import type { QueuedPromise } from './promise.js';
import type { WasiImports } from './wasi.js';

export type { WasiImports } from './wasi.js';

/**
 * `serve()` for QuickJS: connects the author's module with the component's imports and with the
 * host's clock and randomness, and answers synchronously. The entry that `alga build` generates has
 * imported `./prelude.js` before anything else, and turned async functions into generators.
 */
export function serveQuickJs(
  exported: unknown,
  imports: HostImports,
  wasi: WasiImports,
): (request: ExecuteRequest) => ExecuteResponse {
  const adapted = adaptImports(imports);
  const run = connect(exported, adapted);
  const log = createLog(adapted.logging);
  return (raw) => {
    random.begin(wasi.random);
    loop.begin(wasi.clock);
    const request = adaptRequest(raw);
    try {
      return wellTyped(loop.settle(run(request) as unknown as QueuedPromise<ExecuteResponse>));
    } catch (thrown) {
      // A timer threw, or nothing is left to settle the handler's promise.
      return wellTyped(answerUncaught(thrown, request, adapted));
    } finally {
      reportUnwatched(log);
    }
  };
}

/** A response in exactly the types of the contract: the engine traps on anything else. */
function wellTyped(answer: ExecuteResponse): ExecuteResponse {
  const { status, headers, body } = answer as { [K in keyof ExecuteResponse]: unknown };
  const fields = (headers as { name: unknown; value: unknown }[]).map(({ name, value }) => ({
    name: String(name),
    value: String(value),
  }));
  const typed = { status: Math.trunc(Number(status)), headers: fields };
  return body === undefined ? typed : { ...typed, body: body as Uint8Array };
}
