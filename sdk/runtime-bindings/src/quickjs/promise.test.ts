import { beforeEach, describe, expect, test } from 'vitest';

import { enqueueJob, QueuedPromise, runJobs } from './promise.js';

let seen: unknown[];
const see = (value: unknown) => void seen.push(value);
const seeError = (reason: unknown) => see(['rejected', (reason as Error).message]);

beforeEach(() => {
  seen = [];
});

describe('QueuedPromise', () => {
  test('runs nothing before the jobs run, and everything then', () => {
    QueuedPromise.resolve(1).then((value) => see(value + 1));
    expect(seen).toEqual([]);
    runJobs();
    expect(seen).toEqual([2]);
  });

  test('keeps the order of the standard, seen against the promises of Node', async () => {
    const program = (P: PromiseConstructor, note: (text: string) => void) => {
      const thenable = { then: (resolve: (value: string) => void) => resolve('thenable') };
      void P.resolve(thenable as unknown as string).then(note);
      void P.resolve('a')
        .then((value) => P.resolve(`${value}b`))
        .then(note);
      void P.reject(new Error('c'))
        .finally(() => note('finally'))
        .catch((error: unknown) => note((error as Error).message));
      void P.all([P.resolve('x'), P.resolve('y'), thenable]).then((all) => note(all.join()));
      void P.any([P.reject(new Error('no')), P.resolve('any')]).then(note);
      void P.race([P.resolve('race'), P.resolve('late')]).then(note);
      void P.allSettled([P.resolve(1), P.reject(new Error('2'))]).then((all) =>
        note(all.map(({ status }) => status).join()),
      );
      void P.resolve('end').then(note);
    };
    const native: string[] = [];
    program(Promise, (text) => native.push(text));
    await new Promise((resolve) => setTimeout(resolve, 5));
    program(QueuedPromise as unknown as PromiseConstructor, see);
    runJobs();
    // `all`, `any` and `allSettled` may settle some jobs apart; what they settle with may not differ.
    expect([...seen].sort()).toEqual([...native].sort());
    expect(seen.indexOf('c')).toBeGreaterThan(seen.indexOf('finally'));
  });

  test('only the first settlement counts, and an executor that throws rejects', () => {
    new QueuedPromise<number>((resolve, reject) => {
      resolve(1);
      reject(new Error('late'));
      resolve(2);
      throw new Error('later');
    }).then(see, seeError);
    new QueuedPromise(() => {
      throw new Error('executor');
    }).catch(seeError);
    runJobs();
    expect(seen).toEqual([1, ['rejected', 'executor']]);
  });

  test('refuses to wait for itself, and for a `then` that throws', () => {
    const { promise, resolve } = QueuedPromise.withResolvers<unknown>();
    resolve(promise);
    promise.catch(seeError);
    QueuedPromise.resolve({
      get then(): never {
        throw new Error('getter');
      },
    }).catch(seeError);
    runJobs();
    expect(seen).toEqual([
      ['rejected', 'a promise cannot wait for itself'],
      ['rejected', 'getter'],
    ]);
  });

  test('rejects `any` with all errors, and settles the empty ones', () => {
    QueuedPromise.any([QueuedPromise.reject(new Error('1')), QueuedPromise.reject(2)]).catch(
      (error: unknown) => see((error as AggregateError).errors.length),
    );
    QueuedPromise.all([]).then(see);
    QueuedPromise.any([]).catch((error: unknown) => see((error as Error).name));
    runJobs();
    expect(seen).toContainEqual([]);
    expect(seen).toContain('AggregateError');
    expect(seen).toContain(2);
  });

  test('runs as many jobs as there are, and those that they add', () => {
    let left = 5_000;
    const again = () => {
      left -= 1;
      if (left > 0) enqueueJob(again);
    };
    enqueueJob(again);
    runJobs();
    expect(left).toBe(0);
  });
});
