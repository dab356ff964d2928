import { watch } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';

import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { ProjectWatcher } from './watcher.js';

const PATIENCE_MS = 30_000;

let root: string;
let watcher: ProjectWatcher;
let bursts: string[][];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'alga-watch-'));
  for (const folder of ['src', 'dist', 'node_modules/a']) {
    await mkdir(join(root, folder), { recursive: true });
  }
  await writeFile(join(root, 'src', 'index.ts'), 'one');
  bursts = [];
  watcher = new ProjectWatcher(root, (files) => {
    bursts.push(files.map((file) => relative(root, file)).sort());
  });
});

afterEach(async () => {
  vi.useRealTimers();
  watcher.close();
  await rm(root, { recursive: true });
});

/** The files of what is called back after something was done: once, or oftener on a busy machine. */
async function after(change: () => Promise<unknown>): Promise<string[]> {
  const before = bursts.length;
  await change();
  await expect.poll(() => bursts.length, { timeout: PATIENCE_MS }).toBeGreaterThan(before);
  return [...new Set(bursts.slice(before).flat())].sort();
}

/** What a watch of the test's own sees in a folder, when it has seen all of `names`. */
function seen(folder: string, names: string[]): Promise<void> {
  return new Promise((resolve) => {
    const missing = new Set(names);
    const witness = watch(folder, (_, name) => {
      missing.delete(name ?? '');
      if (missing.size > 0) return;
      witness.close();
      resolve();
    });
  });
}

const write = (name: string) => writeFile(join(root, name), `${Math.random()}`);

test('sees a file that is written, and one that takes the place of another, again and again', async () => {
  expect(await after(() => write('src/index.ts'))).toEqual(['src/index.ts']);
  for (let save = 0; save < 3; save += 1) {
    await write('src/index.ts~');
    const replaced = () => rename(join(root, 'src/index.ts~'), join(root, 'src/index.ts'));
    expect(await after(replaced)).toEqual(['src/index.ts']);
  }
});

test('sees files in folders that are new', async () => {
  await after(() => mkdir(join(root, 'src', 'deep')));
  expect(await after(() => write('src/deep/part.ts'))).toEqual(['src/deep/part.ts']);
  await after(() => rm(join(root, 'src', 'deep'), { recursive: true }));
  await after(() => mkdir(join(root, 'src', 'deep')));
  expect(await after(() => write('src/deep/other.ts'))).toEqual(['src/deep/other.ts']);
});

test('calls once for a burst, and not for what builds and editors leave', async () => {
  // The time of silence that ends a burst is the test's, however busy the machine is.
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  await write('dist/main.wasm');
  await write('node_modules/a/index.js');
  await write('src/.index.ts.swp');
  const both = Promise.all([seen(join(root, 'src'), ['a.ts']), seen(root, ['manifest.json'])]);
  await write('src/a.ts');
  await write('manifest.json');
  await both;
  await new Promise((resolve) => setImmediate(resolve));
  expect(bursts).toEqual([]);
  vi.runAllTimers();
  expect(bursts).toEqual([['manifest.json', 'src/a.ts']]);
});
