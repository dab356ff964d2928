import { describe, expect, test } from 'vitest';

import type { HostImports } from '../wit.js';
import { adaptImports } from './imports.js';
import { QueuedPromise } from './promise.js';
import { HostRandom } from './random.js';
import { EventLoop } from './timers.js';

/** A clock that moves only when somebody waits. */
function waitingClock() {
  let now = 5_000_000;
  const waits: number[] = [];
  return {
    waits,
    clock: {
      now: () => now,
      subscribeDuration: (nanoseconds: number) => ({
        block: () => {
          waits.push(nanoseconds);
          now += nanoseconds;
        },
      }),
    },
  };
}

describe('the event loop', () => {
  test('waits for timers in the order in which they are due', () => {
    const { clock, waits } = waitingClock();
    const loop = new EventLoop();
    loop.begin(clock);
    expect(loop.now()).toBe(0);
    const { setTimeout, setInterval, clearInterval, clearTimeout } = loop.functions() as Record<
      string,
      (...args: unknown[]) => number
    >;
    const seen: string[] = [];
    const promise = new QueuedPromise<string>((resolve) => {
      setTimeout!(() => resolve('done'), 20);
      setTimeout!((text: string) => seen.push(text), 10, 'argument');
      clearTimeout!(setTimeout!(() => seen.push('cleared'), 1));
      let count = 0;
      const id = setInterval!(() => {
        count += 1;
        seen.push(`every ${count}`);
        if (count === 2) clearInterval!(id);
      }, 6);
    });
    expect(loop.settle(promise)).toBe('done');
    expect(seen).toEqual(['every 1', 'argument', 'every 2']);
    expect(waits).toEqual([6_000_000, 4_000_000, 2_000_000, 8_000_000]);
    expect(loop.now()).toBe(20);
    expect(() => new EventLoop().functions()['setTimeout']!((() => 0) as never)).toThrow('built');
  });

  test('throws what the promise was rejected with, and what can never settle', () => {
    const loop = new EventLoop();
    expect(() => loop.settle(QueuedPromise.reject(new RangeError('no')))).toThrow(RangeError);
    expect(() => loop.settle(new QueuedPromise(() => undefined))).toThrow('nothing is left');
  });
});

describe('randomness of the host', () => {
  function counting() {
    let next = 0;
    const calls: number[] = [];
    const host = {
      getRandomBytes: (length: number) => {
        calls.push(length);
        return Uint8Array.from({ length }, () => {
          next = (Math.imul(next, 1_664_525) + 1_013_904_223) >>> 0;
          return next >>> 24;
        });
      },
    };
    return { calls, host, random: new HostRandom() };
  }

  test('refuses while the component is built, and draws from the host afterwards', () => {
    const { random, calls, host } = counting();
    expect(() => random.number()).toThrow('in the handler');
    expect(() => random.crypto.randomUUID()).toThrow('in the handler');
    expect(calls).toEqual([]);
    random.begin(host);
    const drawn = Array.from({ length: 200 }, () => random.number());
    expect(drawn.every((value) => value >= 0 && value < 1)).toBe(true);
    expect(new Set(drawn).size).toBe(200);
    expect(calls.length).toBeLessThan(10);
  });

  test('fills arrays of integers, and nothing else', () => {
    const { random, host } = counting();
    random.begin(host);
    const whole = new Uint32Array(4);
    expect(random.crypto.getRandomValues(whole.subarray(1, 3))).toHaveLength(2);
    expect([whole[0], whole[3]]).toEqual([0, 0]);
    expect(whole[1]).not.toBe(0);
    expect(random.crypto.getRandomValues(new Uint8Array(1000)).some((byte) => byte > 0)).toBe(true);
    expect(() => random.crypto.getRandomValues(new Float64Array(1) as never)).toThrow(TypeError);
    expect(() => random.crypto.getRandomValues(new Uint8Array(65_537))).toThrow(RangeError);
    expect(random.crypto.randomUUID()).toMatch(
      /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
  });
});

describe('imports in the types of the engine', () => {
  const record = { namespace: 'n', key: 'k', value: new Uint8Array([1]), revision: 7 };
  const calls: unknown[][] = [];
  const raw = {
    config: { get: () => null, entries: () => [['a', 'b']] },
    storage: {
      get: () => record,
      put: (...args: unknown[]) => (calls.push(args), 8),
      delete: (...args: unknown[]) => void calls.push(args),
      listEntries: () => ({ entries: [record], nextCursor: null }),
    },
  } as unknown as HostImports;

  test('absent values are undefined, and revisions bigint', () => {
    const { config, storage } = adaptImports(raw);
    expect(config!.get('x')).toBeUndefined();
    expect(config!.entries()).toEqual([['a', 'b']]);
    expect(storage!.get('n', 'k')).toEqual({ ...record, revision: 7n });
    expect(storage!.listEntries('n', {})).toEqual({
      entries: [{ ...record, revision: 7n }],
      nextCursor: undefined,
    });
    const condition = { tag: 'revision' as const, val: 7n };
    expect(storage!.put('n', 'k', record.value, { condition })).toBe(8n);
    storage!.delete('n', 'k', condition);
    expect(calls[0]![3]).toEqual({ condition: { tag: 'revision', val: 7 } });
    expect(calls[1]![2]).toEqual({ tag: 'revision', val: 7 });
  });

  test('an argument of the wrong type is an error that can be caught', () => {
    expect(() => adaptImports(raw).config!.get(5 as never)).toThrow(
      'config.get: argument 1 must be a string, not number',
    );
  });
});
