/**
 * Promises with a queue of jobs that the extension empties itself.
 *
 * QuickJS components run synchronous exports and never run the engine's own jobs, so nothing after
 * an `await` would happen. `alga build` turns async functions into generators over the global
 * `Promise`, and this class is that global: `runJobs()` runs everything that can run.
 */

import { noteRejection, noteWatcher } from '../guest/unwatched.js';

type Job = () => void;
type Settle = (value: unknown) => void;

const jobs: Job[] = [];

export function enqueueJob(job: Job): void {
  jobs.push(job);
}

/** Runs jobs, and those that they add, until none is left. What a job throws ends the run. */
export function runJobs(): void {
  for (let next = 0; next < jobs.length; next += 1) {
    const job = jobs[next] as Job;
    // A loop that never waits for the host would keep every job that it ever ran.
    if (next > 1024) {
      jobs.splice(0, next + 1);
      next = -1;
    }
    job();
  }
  jobs.length = 0;
}

type State =
  { tag: 'pending' } | { tag: 'fulfilled'; value: unknown } | { tag: 'rejected'; value: unknown };

interface Reaction {
  fulfilled: Job;
  rejected: Job;
}

export class QueuedPromise<T = unknown> {
  #state: State = { tag: 'pending' };
  #reactions: Reaction[] = [];
  /** Somebody asked what becomes of it. */
  #watched = false;

  constructor(run: (resolve: (value: T | PromiseLike<T>) => void, reject: Settle) => void) {
    const [resolve, reject] = this.#settlers();
    try {
      run(resolve, reject);
    } catch (thrown) {
      reject(thrown);
    }
  }

  /** What became of it so far; for the loop that waits for a handler. */
  static stateOf(promise: QueuedPromise): State {
    promise.#watch();
    return promise.#state;
  }

  /** One pair: only its first call counts. */
  #settlers(): [Settle, Settle] {
    let done = false;
    const once =
      (settle: Settle): Settle =>
      (value) => {
        if (done) return;
        done = true;
        settle(value);
      };
    return [
      once((value) => this.#resolve(value)),
      once((reason) => this.#settle({ tag: 'rejected', value: reason })),
    ];
  }

  #resolve(value: unknown): void {
    if (value === this) {
      this.#settle({ tag: 'rejected', value: new TypeError('a promise cannot wait for itself') });
      return;
    }
    let then: unknown;
    try {
      then = isObject(value) ? (value as { then?: unknown }).then : undefined;
    } catch (thrown) {
      this.#settle({ tag: 'rejected', value: thrown });
      return;
    }
    if (typeof then !== 'function') {
      this.#settle({ tag: 'fulfilled', value });
      return;
    }
    enqueueJob(() => {
      const [resolve, reject] = this.#settlers();
      try {
        Reflect.apply(then, value, [resolve, reject]);
      } catch (thrown) {
        reject(thrown);
      }
    });
  }

  #settle(state: Exclude<State, { tag: 'pending' }>): void {
    this.#state = state;
    if (state.tag === 'rejected' && !this.#watched) noteRejection(this, state.value);
    const reactions = this.#reactions;
    this.#reactions = [];
    for (const reaction of reactions) enqueueJob(reaction[state.tag]);
  }

  #watch(): void {
    this.#watched = true;
    noteWatcher(this);
  }

  then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): QueuedPromise<A | B> {
    this.#watch();
    return new QueuedPromise<A | B>((resolve, reject) => {
      const reaction = (run: unknown, otherwise: Settle): Job => {
        return () => {
          const { value } = this.#state as { value: unknown };
          if (typeof run !== 'function') {
            otherwise(value);
            return;
          }
          try {
            resolve(Reflect.apply(run, undefined, [value]) as A);
          } catch (thrown) {
            reject(thrown);
          }
        };
      };
      const both = {
        fulfilled: reaction(onFulfilled, resolve as Settle),
        rejected: reaction(onRejected, reject),
      };
      if (this.#state.tag === 'pending') this.#reactions.push(both);
      else enqueueJob(both[this.#state.tag]);
    });
  }

  catch<B = never>(
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): QueuedPromise<T | B> {
    return this.then(undefined, onRejected);
  }

  finally(run?: (() => unknown) | null): QueuedPromise<T> {
    if (typeof run !== 'function') return this.then();
    return this.then(
      (value) => QueuedPromise.resolve(run()).then(() => value),
      (reason: unknown) =>
        QueuedPromise.resolve(run()).then(() => {
          throw reason;
        }),
    );
  }

  get [Symbol.toStringTag](): string {
    return 'Promise';
  }

  static resolve<V>(value?: V | PromiseLike<V>): QueuedPromise<V> {
    if (value instanceof QueuedPromise) return value as QueuedPromise<V>;
    return new QueuedPromise<V>((resolve) => resolve(value as V));
  }

  static reject(reason?: unknown): QueuedPromise<never> {
    return new QueuedPromise<never>((_resolve, reject) => reject(reason));
  }

  static withResolvers<V>() {
    const [parts] = [{} as { resolve: (value: V | PromiseLike<V>) => void; reject: Settle }];
    const promise = new QueuedPromise<V>((resolve, reject) => {
      Object.assign(parts, { resolve, reject });
    });
    return { promise, resolve: parts.resolve, reject: parts.reject };
  }

  static try<A extends unknown[], V>(run: (...args: A) => V, ...args: A): QueuedPromise<V> {
    return new QueuedPromise<V>((resolve) => resolve(run(...args)));
  }

  static all<V>(values: Iterable<V | PromiseLike<V>>): QueuedPromise<V[]> {
    return gather<V, V>(values, (each, keep, fail) => each.then(keep, fail));
  }

  static allSettled<V>(
    values: Iterable<V | PromiseLike<V>>,
  ): QueuedPromise<PromiseSettledResult<V>[]> {
    return gather<V, PromiseSettledResult<V>>(values, (each, keep) =>
      each.then(
        (value) => keep({ status: 'fulfilled', value }),
        (reason: unknown) => keep({ status: 'rejected', reason }),
      ),
    );
  }

  static any<V>(values: Iterable<V | PromiseLike<V>>): QueuedPromise<V> {
    return new QueuedPromise<V>((resolve, reject) => {
      gather<V, unknown>(values, (each, keep) => each.then(resolve, keep)).then((errors) => {
        reject(new AggregateError(errors, 'All promises were rejected'));
      }, reject);
    });
  }

  static race<V>(values: Iterable<V | PromiseLike<V>>): QueuedPromise<V> {
    return new QueuedPromise<V>((resolve, reject) => {
      for (const value of values) QueuedPromise.resolve(value).then(resolve, reject);
    });
  }
}

/** Waits until `keep` was called for every value; what it was given is the answer, in order. */
function gather<V, K>(
  values: Iterable<V | PromiseLike<V>>,
  watch: (each: QueuedPromise<V>, keep: (kept: K) => void, fail: Settle) => unknown,
): QueuedPromise<K[]> {
  return new QueuedPromise<K[]>((resolve, reject) => {
    const kept: K[] = [];
    let left = 1;
    const oneLess = () => {
      left -= 1;
      if (left === 0) resolve(kept);
    };
    let index = 0;
    for (const value of values) {
      const at = index;
      index += 1;
      left += 1;
      watch(
        QueuedPromise.resolve(value),
        (one) => {
          kept[at] = one;
          oneLess();
        },
        reject,
      );
    }
    oneLess();
  });
}

function isObject(value: unknown): boolean {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}
