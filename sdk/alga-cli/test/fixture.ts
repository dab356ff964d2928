import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { Environment } from '../src/environment.js';

const SDK = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

export const MANIFEST = {
  name: 'com.example.fixture',
  publisher: 'example',
  version: '1.0.0',
  runtime: 'wasm-js@1',
  capabilities: [] as string[],
  api: { endpoints: [{ method: 'GET', path: '/*' }] },
};

/** A folder that is removed by the caller. Its path holds a space, as paths of people do. */
export async function temporaryFolder(): Promise<{ path: string; remove: () => Promise<void> }> {
  const parent = await mkdtemp(join(tmpdir(), 'alga-test-'));
  const path = join(parent, 'a project');
  await mkdir(path);
  return { path, remove: () => rm(parent, { recursive: true, force: true }) };
}

/** Writes files and links the workspace's packages into the folder, as `npm install` would. */
export async function writeProject(folder: string, files: Record<string, string>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), content);
  }
  await mkdir(join(folder, 'node_modules', '@alga'), { recursive: true });
  await symlink(
    join(SDK, 'runtime-bindings'),
    join(folder, 'node_modules', '@alga', 'extension-runtime'),
  ).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  });
}

/** An environment that remembers what the command said. */
export interface TestEnvironment extends Environment {
  out: string;
  err: string;
}

export function testEnvironment(
  cwd: string,
  variables: Record<string, string> = {},
  stdin: NodeJS.ReadableStream = process.stdin,
): TestEnvironment {
  const environment: TestEnvironment = {
    cwd,
    variables: { HOME: cwd, ...variables },
    stdin,
    signal: new AbortController().signal,
    out: '',
    err: '',
    stdout: { write: (text) => (environment.out += text) },
    stderr: { write: (text) => (environment.err += text) },
  };
  return environment;
}
