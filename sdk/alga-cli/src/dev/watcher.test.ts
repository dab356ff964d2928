import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { ProjectWatcher } from './watcher.js';

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
  watcher.close();
  await rm(root, { recursive: true });
});

/** Waits for the next burst after something was done. */
async function after(change: () => Promise<unknown>): Promise<string[] | undefined> {
  const before = bursts.length;
  await change();
  await expect.poll(() => bursts.length, { timeout: 3000 }).toBe(before + 1);
  return bursts.at(-1);
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
  await write('dist/main.wasm');
  await write('node_modules/a/index.js');
  await write('src/.index.ts.swp');
  const both = await after(() => Promise.all([write('src/a.ts'), write('manifest.json')]));
  expect(both).toEqual(['manifest.json', 'src/a.ts']);
});
