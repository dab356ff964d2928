import { join } from 'node:path';
import { Worker } from 'node:worker_threads';

import { codeFrame } from '../code-frame.js';
import { PACKAGE_ROOT } from '../contracts.js';
import type { Output } from '../output.js';
import type { Project } from '../project/project.js';
import type { FloatingPromise } from './floating-promises.js';

/** Stable name of the finding. */
export const FLOATING = 'build.floating_promise';

/** Warnings that are shown in full; a project that never awaits would fill the screen. */
const MOST_SHOWN = 10;

/**
 * Looks for promises that nobody awaits, beside whatever this process does meanwhile. Such a promise
 * that fails leaves no trace on StarlingMonkey, so that the time to tell of it is before it runs.
 */
export class PromiseCheck {
  readonly #worker: Worker | undefined;
  readonly #found: Promise<readonly FloatingPromise[]>;

  constructor({ root, entry }: Project) {
    this.#worker =
      entry === undefined
        ? undefined
        : new Worker(join(PACKAGE_ROOT, 'bin', 'promise-check.js'), {
            workerData: { root, entry },
          });
    this.#found = this.#worker === undefined ? Promise.resolve([]) : answer(this.#worker);
  }

  /** Warns of what was found. */
  async report(output: Output): Promise<void> {
    const found = await this.#found;
    for (const { file, line, column, expression, dropped, source } of found.slice(0, MOST_SHOWN)) {
      const why = dropped
        ? `forEach does not wait for its async function`
        : `nobody awaits ${expression}`;
      output.warn({
        code: FLOATING,
        message: `${why}: the answer waits neither for it nor for its failure`,
        hint: dropped
          ? 'use for (const … of …) with await, or await Promise.all(….map(…))'
          : 'await it, end it with .catch(…), or write void in front of it if it may be lost',
        location: { file, line, column },
        frame: codeFrame(source, line, column, 1),
      });
    }
    const more = found.length - MOST_SHOWN;
    if (more > 0) output.warn({ code: FLOATING, message: `${more} more that nobody awaits` });
  }

  /** As `report()`, for who has nothing else to do until then. */
  async finish(output: Output): Promise<void> {
    const label = 'Looking for promises that nobody awaits';
    await output.during(label, () => this.#found, { quick: true });
    await this.report(output);
  }

  /** Nobody wants to know any more. */
  async stop(): Promise<void> {
    await this.#worker?.terminate();
  }
}

/** Nothing, too, when the compiler fails: what it says about the code is not the build's business. */
function answer(worker: Worker): Promise<readonly FloatingPromise[]> {
  return new Promise((resolve) => {
    worker.once('message', (found: FloatingPromise[]) => resolve(found));
    worker.once('error', () => resolve([]));
    worker.once('exit', () => resolve([]));
  });
}
