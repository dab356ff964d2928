import { relative } from 'node:path';

import type { BuildFailure, Message } from 'esbuild';

import { codeFrame } from '../code-frame.js';
import { Failure } from '../failure.js';

export function isBuildFailure(error: unknown): error is BuildFailure {
  return error instanceof Error && 'errors' in error && Array.isArray(error.errors);
}

/** An error of esbuild at its place, with what to do about it. */
export function bundleFailure(project: string, errors: Message[]): Failure {
  const [first] = errors;
  if (first === undefined) throw new Error('esbuild failed without an error');
  const more = errors.length === 1 ? '' : ` (and ${errors.length - 1} more)`;
  const location = first.location;
  const details = { errors: errors.map(({ text, location: at }) => ({ text, ...at })) };
  const hint = hintFor(first);
  if (location === null || location.file === '.alga/entry.js') {
    return new Failure('build.bundle_failed', first.text + more, { ...hint, details });
  }
  const frame = codeFrame(location.lineText, 1, location.column + 1).replace(
    /^( {2}> )1/m,
    `$1${location.line}`,
  );
  return new Failure('build.bundle_failed', first.text + more, {
    ...hint,
    details,
    frame,
    location: {
      file: relative(process.cwd(), `${project}/${location.file}`),
      line: location.line,
      column: location.column + 1,
    },
  });
}

function hintFor(message: Message): { hint?: string } {
  if (message.detail === 'node-builtin') {
    return {
      hint: 'use the web platform (fetch, URL, crypto.subtle, TextEncoder) or the capabilities of the handler; see JavaScript compatibility in the docs',
    };
  }
  if (message.text.includes('Top-level await')) {
    return {
      hint: 'await inside the handler, or build with --engine starlingmonkey; QuickJS has no top-level await',
    };
  }
  const missing = /^Could not resolve "([^"]+)"/.exec(message.text)?.[1];
  if (missing === undefined) return {};
  if (missing.startsWith('.') || missing.startsWith('/')) {
    return { hint: 'check the path; the extension of the file may be left out' };
  }
  const name = missing
    .split('/')
    .slice(0, missing.startsWith('@') ? 2 : 1)
    .join('/');
  return { hint: `install it in the project: npm install ${name}` };
}
