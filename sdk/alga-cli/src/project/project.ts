import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { Failure } from '../failure.js';
import { loadManifest, type Manifest } from '../manifest/manifest.js';

/** Places of a project on disk. */
export interface Project {
  root: string;
  manifest: Manifest;
  /** The bytes of manifest.json, which go into the bundle as they are. */
  manifestText: string;
  /** The author's module; undefined for a project of pages only. */
  entry: string | undefined;
  component: string;
  sourceMap: string;
  /** Generated files and caches; kept out of version control. */
  work: string;
}

const ENTRIES = [
  'src/index.ts',
  'src/index.tsx',
  'src/index.js',
  'src/index.mjs',
  'src/handler.ts',
  'src/handler.js',
  'src/handler.mjs',
];

export async function openProject(directory: string): Promise<Project> {
  const root = resolve(directory);
  const { manifest, text } = await loadManifest(root);
  return {
    root,
    manifest,
    manifestText: text,
    entry: findEntry(root, manifest),
    component: join(root, 'dist', 'main.wasm'),
    sourceMap: join(root, 'dist', 'main.js.map'),
    work: join(root, '.alga'),
  };
}

/** Whether there is a handler to build: a project of pages alone declares no endpoints. */
export function hasHandler(manifest: Manifest): boolean {
  return (manifest.api?.endpoints ?? []).length > 0;
}

function findEntry(root: string, manifest: Manifest): string | undefined {
  const named = manifest.entry;
  if (named !== undefined && /\.[mc]?[jt]sx?$/.test(named) && !named.startsWith('dist/')) {
    const file = join(root, named);
    if (existsSync(file)) return file;
    throw new Failure(
      'project.entry_not_found',
      `manifest.json names the entry ${named}, which does not exist`,
      {
        hint: 'create the file, or correct "entry" in manifest.json',
      },
    );
  }
  return ENTRIES.map((name) => join(root, name)).find((file) => existsSync(file));
}
