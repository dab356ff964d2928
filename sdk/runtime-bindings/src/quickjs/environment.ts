import { FetchRequest, FetchResponse, HeaderFields } from './http.js';
import { QueuedPromise } from './promise.js';
import { HostRandom } from './random.js';
import { SearchParams } from './search-params.js';
import { Utf8Decoder, Utf8Encoder } from './text.js';
import { EventLoop } from './timers.js';
import { HttpUrl } from './url.js';

/** The randomness and the timers of this instance; they know their host from the first request on. */
export const random = new HostRandom();
export const loop = new EventLoop();

/**
 * Puts in place what the engine lacks or freezes. Happens before any other module runs, because a
 * package may keep `Math.random` or `Promise` in a variable of its own. The larger interfaces of the
 * web platform stay away, and `--engine auto` sees who needs them.
 */
export function installEnvironment(): void {
  Math.random = () => random.number();
  // Native code would return promises of the engine, whose jobs never run.
  Reflect.deleteProperty(globalThis, 'AsyncDisposableStack');
  Object.defineProperty(Array, 'fromAsync', { value: fromAsync, writable: true });
  const globals = {
    self: globalThis,
    Promise: QueuedPromise,
    TextEncoder: Utf8Encoder,
    TextDecoder: Utf8Decoder,
    URL: HttpUrl,
    URLSearchParams: SearchParams,
    Headers: HeaderFields,
    Request: FetchRequest,
    Response: FetchResponse,
    crypto: random.crypto,
    performance: { now: loop.now },
    console: earlyConsole(),
    ...loop.functions(),
  };
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
  }
}

/** `Array.fromAsync` over this library's promises. */
export async function fromAsync(
  source: AsyncIterable<unknown> | Iterable<unknown> | ArrayLike<unknown>,
  change?: (value: unknown, index: number) => unknown,
): Promise<unknown[]> {
  const iterable = Symbol.asyncIterator in source || Symbol.iterator in source;
  const made: unknown[] = [];
  for await (const value of iterable ? source : Array.from(source)) {
    made.push(change === undefined ? value : await change(value, made.length));
  }
  return made;
}

/** Says nothing until the one of the tenant's log is there, then speaks through that. */
function earlyConsole(): Record<string, (...values: unknown[]) => void> {
  const levels = ['debug', 'trace', 'log', 'info', 'warn', 'error', 'assert'];
  const early: Record<string, (...values: unknown[]) => void> = {};
  for (const level of levels) {
    early[level] = (...values) => {
      const current = globalThis.console as unknown as typeof early;
      if (current !== early) current[level]?.(...values);
    };
  }
  return early;
}
