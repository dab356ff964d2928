import { createLog } from '../capabilities.js';
import { describeError, describeFrames, observeCalls, wrapCalls, wrapped } from '../errors.js';
import { assertHandler, execute } from '../execute.js';
import { createFetch } from '../fetch.js';
import type { ExecuteRequest, ExecuteResponse, HostImports, LogLevel } from '../wit.js';
import { reportUnwatched, settleRest, watch } from './unwatched.js';

/** The function that the component exports as `handler`. */
export type GuestExport = (request: ExecuteRequest) => Promise<ExecuteResponse>;

/**
 * Connects the author's module with the component's imports. The entry that `alga build` generates
 * calls this once, while the component is being built; nothing here may use the host before the
 * first request.
 *
 * @param exported the author's default export or `handler` export: made by `handler()`, or a
 *   function `(request, host)` in the reference's style
 */
export function serve(exported: unknown, imports: HostImports): GuestExport {
  wrapCalls(watch);
  const answer = connect(exported, imports);
  const log = createLog(imports.logging);
  return async (request) => {
    const answered = await answer(request);
    await settleRest();
    reportUnwatched(log);
    return answered;
  };
}

/** `serve()` for engines whose promises are this library's own: those see every rejection. */
export function connect(exported: unknown, imports: HostImports): GuestExport {
  assertHandler(exported);
  installGlobals(imports);
  traceCalls(imports);
  return (request) => execute(exported, request, imports);
}

/** Host calls that are traced per request: enough to name the last one before most ends. */
const TRACED_CALLS = 200;
const TRACED_FRAMES = 8;

/**
 * Writes a debug line before each host call. When the host ends an execution (time, memory), nothing
 * in the guest can say where it was; the last of these lines does, at the author's line.
 */
function traceCalls(imports: HostImports): void {
  const log = createLog(imports.logging);
  let left = TRACED_CALLS;
  observeCalls((operation, site) => {
    if (left === 0) return;
    left -= 1;
    log.debug(
      [`host call ${operation}`, ...describeFrames(site).slice(0, TRACED_FRAMES)].join('\n'),
    );
  });
}

/**
 * Replaces what would end the execution without a word (the engine's own `fetch`, whose network is
 * switched off) or bypass the tenant's log (`console`).
 */
function installGlobals(imports: HostImports): void {
  const log = createLog(imports.logging);
  const write =
    (level: LogLevel) =>
    (...values: unknown[]) =>
      log[level](values.map(formatValue).join(' '));
  const console = {
    ...globalThis.console,
    debug: write('debug'),
    trace: write('debug'),
    log: write('info'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    assert: (held?: boolean, ...values: unknown[]) => {
      if (held !== true) write('error')('Assertion failed:', ...values);
    },
  };
  const { network } = wrapped({ network: { fetch: createFetch(imports.http) } });
  for (const [name, value] of Object.entries({ ...network, console })) {
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
  }
}

function formatValue(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return describeError(value);
  if (typeof value !== 'object' || value === null) return String(value);
  try {
    return JSON.stringify(value, (_key, inner: unknown) =>
      typeof inner === 'bigint' ? `${inner}n` : inner,
    );
  } catch {
    return Object.prototype.toString.call(value);
  }
}
