import { enqueueJob, QueuedPromise, runJobs } from './promise.js';
import type { MonotonicClock } from './wasi.js';

interface Timer {
  id: number;
  /** Nanoseconds of the monotonic clock. */
  due: number;
  /** Nanoseconds between runs; undefined for one run. */
  every: number | undefined;
  run: () => void;
}

const NANOSECONDS = 1_000_000;

/** Timers over the host's monotonic clock, and the loop that waits for a promise. */
export class EventLoop {
  #host: MonotonicClock | undefined;
  #began = 0;
  readonly #timers = new Map<number, Timer>();
  #last = 0;

  /** Called when the first request arrives. */
  begin(host: MonotonicClock): void {
    this.#host = host;
    this.#began = host.now();
  }

  /** Milliseconds since `begin()`; 0 while the component is built. */
  readonly now = (): number =>
    this.#host === undefined ? 0 : (this.#host.now() - this.#began) / NANOSECONDS;

  get #clock(): MonotonicClock {
    if (this.#host !== undefined) return this.#host;
    throw new Error('There are no timers while the component is built: set them in the handler');
  }

  /** The timer functions of the web, for `globalThis`. */
  functions(): Record<string, (...args: never[]) => unknown> {
    const add =
      (repeat: boolean) =>
      (run: unknown, ms?: unknown, ...args: unknown[]) => {
        if (typeof run !== 'function') throw new TypeError('a timer needs a function');
        const wait = Math.round(Math.max(0, Number(ms) || 0) * NANOSECONDS);
        const every = repeat ? Math.max(wait, NANOSECONDS) : undefined;
        this.#last += 1;
        const id = this.#last;
        const due = this.#clock.now() + wait;
        this.#timers.set(id, {
          id,
          due,
          every,
          run: () => void Reflect.apply(run, undefined, args),
        });
        return id;
      };
    const clear = (id?: unknown) => void this.#timers.delete(Number(id));
    return {
      setTimeout: add(false),
      setInterval: add(true),
      clearTimeout: clear,
      clearInterval: clear,
      queueMicrotask: (job: () => void) => enqueueJob(job),
    };
  }

  /** Runs jobs and timers until `promise` is settled. Throws its rejection, or that it never will be. */
  settle<T>(promise: QueuedPromise<T>): T {
    for (;;) {
      runJobs();
      const state = QueuedPromise.stateOf(promise);
      if (state.tag === 'fulfilled') return state.value as T;
      if (state.tag === 'rejected') throw state.value;
      const timer = this.#next();
      if (timer === undefined) {
        throw new Error('The handler waits for a promise that nothing is left to settle');
      }
      this.#runAt(timer);
    }
  }

  #next(): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers.values()) {
      if (first === undefined || timer.due < first.due) first = timer;
    }
    return first;
  }

  #runAt(timer: Timer): void {
    const wait = timer.due - this.#clock.now();
    if (wait > 0) {
      const pollable = this.#clock.subscribeDuration(wait);
      pollable.block();
      drop(pollable);
    }
    if (timer.every === undefined) this.#timers.delete(timer.id);
    else timer.due = this.#clock.now() + timer.every;
    timer.run();
  }
}

/** Gives the host's handle back; TypeScript's library does not know the symbol yet. */
function drop(resource: object): void {
  const { dispose } = Symbol as { dispose?: symbol };
  if (dispose === undefined) return;
  (resource as Record<symbol, (() => void) | undefined>)[dispose]?.();
}
