import { mkdtemp, readdir, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { ComponentCache } from './cache.js';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'alga-cache-'));
});

afterEach(() => rm(folder, { recursive: true }));

test('gives back what was put in, under the same key only', async () => {
  const cache = new ComponentCache(folder);
  await cache.put('a', Buffer.from('one'));
  expect(await cache.get('a')).toEqual(Buffer.from('one'));
  expect(await cache.get('b')).toBeUndefined();
});

test('keeps nothing without a folder', async () => {
  const cache = new ComponentCache('');
  await cache.put('a', Buffer.from('one'));
  expect(await cache.get('a')).toBeUndefined();
});

test('forgets what was not used for the longest time', async () => {
  const cache = new ComponentCache(folder);
  for (let i = 0; i < 40; i += 1) {
    await cache.put(`k${i}`, Buffer.from('x'));
    await utimes(join(folder, `k${i}.wasm`), i, i);
  }
  await cache.get('k0');
  await cache.put('new', Buffer.from('x'));
  expect(await readdir(folder)).toHaveLength(40);
  expect(await cache.get('k0')).toBeDefined();
  expect(await cache.get('k1')).toBeUndefined();
});
