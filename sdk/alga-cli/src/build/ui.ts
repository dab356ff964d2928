import { existsSync } from 'node:fs';
import { cp, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';

import { makeFolder } from '../make-folder.js';
import type { Output } from '../output.js';
import type { Project } from '../project/project.js';
import { bundleFailure, isBuildFailure } from './bundle-failure.js';

const ENTRIES = ['ui/main.tsx', 'ui/main.ts', 'ui/main.jsx', 'ui/main.js'];
const SOURCES = /\.(tsx?|jsx)$/;

/**
 * Builds the page of a project whose `ui/` holds a `main.ts` or its like: bundles the script for
 * browsers and copies everything else, into `dist/ui/`. A `ui/` of plain files needs no build and is
 * packed as it is. Returns whether there was something to build.
 */
export async function buildUi(project: Project, output: Output): Promise<boolean> {
  const entry = ENTRIES.find((name) => existsSync(join(project.root, name)));
  if (entry === undefined) return false;
  await output.during('Building the page', () => bundlePage(project, entry), { quick: true });
  return true;
}

async function bundlePage(project: Project, entry: string): Promise<void> {
  const target = join(project.root, 'dist', 'ui');
  await rm(target, { recursive: true, force: true });
  await makeFolder(target);
  await cp(join(project.root, 'ui'), target, {
    recursive: true,
    filter: (file) => !SOURCES.test(file) && basename(file) !== basename(entry),
  });
  try {
    const { build } = await import('esbuild');
    await build({
      entryPoints: [join(project.root, entry)],
      absWorkingDir: project.root,
      outfile: join(target, 'main.js'),
      bundle: true,
      minify: true,
      format: 'esm',
      platform: 'browser',
      target: 'es2022',
      charset: 'utf8',
      legalComments: 'none',
      define: { 'process.env.NODE_ENV': '"production"' },
      logLevel: 'silent',
    });
  } catch (cause) {
    if (isBuildFailure(cause)) throw bundleFailure(project.root, cause.errors);
    throw cause;
  }
}
