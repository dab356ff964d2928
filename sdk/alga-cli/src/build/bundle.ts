import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';

import type { Plugin } from 'esbuild';
import { isBuiltin } from 'node:module';

import { bundleFailure, isBuildFailure } from './bundle-failure.js';
import type { Engine } from './engine.js';

/** Name of the bundled module inside the component; stack frames name it. */
export const BUNDLE_NAME = 'main.js';

export interface Bundle {
  code: string;
  /** Source map of `code`, with the sources' contents; paths relative to the project. */
  map: string;
  /** Files that went in, relative to the project, for watching. */
  inputs: string[];
}

/**
 * QuickJS components run no jobs of the engine, so asynchronous code becomes generators over the
 * global `Promise`, which the runtime library replaces there.
 */
const WITHOUT_ASYNC = { 'async-await': false, 'async-generator': false, 'for-await': false };

/**
 * Bundles a module and all it imports into one ES module for the engine.
 *
 * @param define replacements of globals beside the usual ones, as esbuild takes them
 */
export async function bundle(
  project: string,
  entry: string,
  engine: Engine = 'starlingmonkey',
  define: Record<string, string> = {},
): Promise<Bundle> {
  const quickjs = engine === 'quickjs';
  try {
    const [{ build }, { regexpPlugin }] = await Promise.all([
      import('esbuild'),
      import('./regexp.js'),
    ]);
    const result = await build({
      stdin: { contents: entry, resolveDir: project, sourcefile: '.alga/entry.js', loader: 'js' },
      absWorkingDir: project,
      outfile: `dist/${BUNDLE_NAME}`,
      bundle: true,
      write: false,
      metafile: true,
      format: 'esm',
      platform: 'neutral',
      target: 'es2022',
      supported: quickjs ? WITHOUT_ASYNC : {},
      mainFields: ['module', 'main'],
      conditions: ['alga', 'import', 'module', 'default'],
      external: ['alga:*', 'wasi:*'],
      sourcemap: 'external',
      sourcesContent: true,
      // QuickJS counts the columns of its stack traces in bytes, source maps count in characters.
      charset: quickjs ? 'ascii' : 'utf8',
      legalComments: 'none',
      // Otherwise a comment names each file, and the component tells how the author's disk looks.
      minifyWhitespace: true,
      define: { 'process.env.NODE_ENV': '"production"', global: 'globalThis', ...define },
      logLevel: 'silent',
      // QuickJS has the tables of Unicode's properties.
      plugins: quickjs ? [builtinsPlugin()] : [builtinsPlugin(), regexpPlugin()],
    });
    const output = (suffix: string) =>
      result.outputFiles.find((file) => file.path.endsWith(suffix))?.text ?? '';
    return {
      code: output('.js'),
      map: projectRelative(output('.js.map'), project),
      inputs: Object.keys(result.metafile.inputs).filter((name) => name !== '.alga/entry.js'),
    };
  } catch (cause) {
    if (isBuildFailure(cause)) throw bundleFailure(project, cause.errors);
    throw cause;
  }
}

/** Refuses Node's own modules with advice, instead of bundling something that cannot work. */
function builtinsPlugin(): Plugin {
  return {
    name: 'alga-builtins',
    setup(pluginBuild) {
      pluginBuild.onResolve({ filter: /^(node:)?[a-z_/]+$/ }, async (args) => {
        if (!isBuiltin(args.path)) return undefined;
        // A package may carry its own module of that name (`events`, `buffer`, …).
        if (!args.path.startsWith('node:') && args.pluginData !== 'asked') {
          const found = await pluginBuild.resolve(args.path, {
            kind: args.kind,
            resolveDir: args.resolveDir,
            importer: args.importer,
            pluginData: 'asked',
          });
          if (found.errors.length === 0) return found;
        }
        const text = `"${args.path}" is a module of Node.js, which extensions do not run in`;
        return { errors: [{ text, detail: 'node-builtin' }] };
      });
    },
  };
}

/**
 * Source paths relative to the project instead of to `dist/`. A file outside of the project (a
 * package that is linked into it) is named as if it were installed, so that no machine's paths remain.
 */
function projectRelative(map: string, project: string): string {
  const parsed = JSON.parse(map) as { sources: string[] };
  parsed.sources = parsed.sources.map((source) => {
    const file = resolve(project, 'dist', source);
    const path = relative(project, file);
    return (path.startsWith('..') ? packagePath(file) : path).split(sep).join('/');
  });
  return JSON.stringify(parsed);
}

/** `node_modules/<package>/<path>` of a file in a package, wherever that is. */
function packagePath(file: string): string {
  for (let folder = dirname(file); folder !== dirname(folder); folder = dirname(folder)) {
    const description = join(folder, 'package.json');
    if (!existsSync(description)) continue;
    const { name } = JSON.parse(readFileSync(description, 'utf8')) as { name?: string };
    if (name !== undefined) return join('node_modules', name, relative(folder, file));
  }
  return join('node_modules', basename(file));
}
