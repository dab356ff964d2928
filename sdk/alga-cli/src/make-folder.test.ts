import { mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { makeFolder } from './make-folder.js';

let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'alga-folder-'));
});

afterEach(() => rm(root, { recursive: true, force: true }));

test('makes what is missing, with its mode, and takes what is there', async () => {
  const deep = join(root, 'a', 'b', 'c');
  await makeFolder(deep, 0o700);
  await makeFolder(deep);
  for (const folder of [deep, join(root, 'a')]) {
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
  }
});

test('goes through a link to a folder', async () => {
  await mkdir(join(root, 'real'));
  await symlink('real', join(root, 'link'));
  await makeFolder(join(root, 'link', 'inside'));
  expect((await stat(join(root, 'real', 'inside'))).isDirectory()).toBe(true);
});

test.each([
  ['a file', 'file', 'EEXIST'],
  ['a folder below a file', 'file/inside', 'ENOTDIR'],
  ['a link to nothing', 'dangling', 'EEXIST'],
  ['a folder below a link to nothing', 'dangling/inside', 'EEXIST'],
  ['a link to itself', 'loop/inside', 'ELOOP'],
  ['a name that is too long', 'n'.repeat(300), 'ENAMETOOLONG'],
])('%s cannot be made a folder', async (_, name, code) => {
  await writeFile(join(root, 'file'), '');
  await symlink('nowhere', join(root, 'dangling'));
  await symlink('loop', join(root, 'loop'));
  await expect(makeFolder(join(root, name))).rejects.toMatchObject({ code });
});

test.runIf(process.platform === 'linux')(
  'a system that says a folder is missing whose parent exists is believed, and asked once',
  async () => {
    await expect(makeFolder('/proc/x/y/z')).rejects.toMatchObject({
      code: 'ENOENT',
      path: '/proc/x',
    });
  },
);
