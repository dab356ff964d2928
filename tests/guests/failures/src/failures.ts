import type { Storage } from '@alga/extension-runtime';

/** The author's own error class: its name must reach the author. */
export class OutOfLuckError extends Error {
  override readonly name = 'OutOfLuckError';
}

interface Thing {
  name: string;
}

// Types and blank lines that compilation removes stand between here and the lines that fail, so that
// positions of the bundle and of this file differ.
export type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false };

export function explode(thing: Thing): never {
  throw new OutOfLuckError(`no ${thing.name}`); // fails: throw
}

export async function refuseLater(why: string): Promise<never> {
  await Promise.resolve();
  return Promise.reject(new Error(why)); // fails: reject
}

export async function save(storage: Storage): Promise<void> {
  await storage.get('notes', 'one').catch(() => undefined);
  await Promise.resolve();
  await storage.put('notes', 'one', 'text'); // fails: forgotten-own
}

export function parse(text: string): unknown {
  return JSON.parse(text); // fails: json
}

export function deepen(depth: number): number {
  return 1 + deepen(depth + 1); // fails: overflow
}

export function hoard(): number {
  const kept: Uint8Array[] = [];
  for (;;) kept.push(new Uint8Array(8 * 1024 * 1024).fill(1));
}
