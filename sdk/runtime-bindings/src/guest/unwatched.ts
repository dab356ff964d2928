import type { Log } from '../capabilities.js';
import { describeError } from '../errors.js';

/** How such a line of the log begins; `alga` looks for it. */
export const NOT_AWAITED = 'Not awaited: ';

/** Lines that are written for one request; a loop may leave any number behind. */
const MOST_LINES = 10;

/** Rejected promises that nobody has asked about so far, with their reasons, oldest first. */
const unwatched = new Map<object, unknown>();

export function noteRejection(promise: object, reason: unknown): void {
  unwatched.set(promise, reason);
}

export function noteWatcher(promise: object): void {
  unwatched.delete(promise);
}

/**
 * Writes what failed without anybody waiting for it to the tenant's log. To be called when a request
 * has been answered and nothing of it can run any more.
 */
export function reportUnwatched(log: Log): void {
  const reasons = [...unwatched.values()];
  unwatched.clear();
  for (const reason of reasons.slice(0, MOST_LINES)) {
    log.error(`${NOT_AWAITED}${describeError(reason)}`);
  }
  if (reasons.length > MOST_LINES) {
    log.error(`${NOT_AWAITED}${reasons.length - MOST_LINES} more promises that were rejected`);
  }
}

/** Promises of host calls that nobody has asked about so far, whatever will become of them. */
let open = 0;

/** A promise that knows whether somebody waits for it: `await` calls `then` of every subclass. */
class WatchedPromise<T> extends Promise<T> {
  watched = false;

  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  override then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    if (!this.watched) open -= 1;
    this.watched = true;
    noteWatcher(this);
    return super.then(onFulfilled, onRejected);
  }
}

type Method = (...args: unknown[]) => unknown;

/**
 * The same function, whose promise is watched from its rejection on. StarlingMonkey tells nobody of a
 * rejection that is not handled: it has no event for it, and `await` of a plain promise calls nothing
 * that could be replaced. Promises of the extension's own async functions stay unseen there; those of
 * host calls, which are the ones that fail, are made by this library.
 */
export function watch<F>(call: F): F {
  const watched: Method = (...args) => {
    const made = (call as Method)(...args);
    if (!(made instanceof Promise)) return made;
    const promise = new WatchedPromise<unknown>((resolve, reject) => {
      made.then(resolve, (reason: unknown) => {
        if (!promise.watched) noteRejection(promise, reason);
        reject(reason);
      });
    });
    open += 1;
    return promise;
  };
  return watched as F;
}

/** Turns of the queue that an answered request leaves to what is still under way. */
const TURNS = 32;

/**
 * Lets promises of host calls that nobody awaits get to their ends. Costs nothing where there is none:
 * that is every request of a handler that awaits what it does.
 */
export async function settleRest(): Promise<void> {
  if (open === 0) return;
  for (let turn = 0; turn < TURNS; turn += 1) await Promise.resolve();
}
