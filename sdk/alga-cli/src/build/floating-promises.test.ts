import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { findFloatingPromises } from './floating-promises.js';

// The compiler reads its libraries anew for each project.
const SLOW = 120_000;

describe('promises that nobody awaits', { timeout: SLOW }, () => {
  let root: string;

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'alga-promises-'));
    await mkdir(join(root, 'node_modules'));
    const typescript = createRequire(import.meta.url).resolve('typescript/package.json');
    await symlink(dirname(typescript), join(root, 'node_modules', 'typescript'));
  });

  afterAll(() => rm(root, { recursive: true, force: true }));

  /** The lines, of those marked `// floats`, that were found, and any other. */
  async function search(lines: string[]): Promise<{ marked: number[]; found: number[] }> {
    const source = [
      'declare function save(text: string): Promise<number>;',
      'declare const maybe: boolean;',
      'declare const anything: any;',
      'declare const lazily: PromiseLike<string>;',
      'declare const store: { put(): Promise<void>; size(): number };',
      ...lines,
      'export {};',
    ];
    const entry = join(root, 'index.ts');
    await writeFile(entry, source.join('\n'));
    const marked = source.flatMap((text, at) => (text.endsWith('// floats') ? [at + 1] : []));
    const found = (findFloatingPromises(root, entry) ?? []).map(({ line }) => line);
    return { marked, found };
  }

  test('are found where nobody can hear of their end', async () => {
    const { marked, found } = await search([
      'async function work() {',
      "  save('a'); // floats",
      '  store.put(); // floats',
      '  lazily; // floats',
      "  (save('b')); // floats",
      '  new Promise(() => undefined); // floats',
      "  save('c').then(() => 1); // floats",
      "  save('d').finally(() => 1); // floats",
      "  maybe && save('e'); // floats",
      "  maybe ? save('f') : 1; // floats",
      "  1, save('g'); // floats",
      "  ['h'].map(save); // floats",
      "  ['i'].forEach(async (one) => { await save(one); }); // floats",
      "  ['j'].forEach(save); // floats",
      '  anything?.x ?? store.put(); // floats',
      '  if (maybe) work(); // floats',
      '}',
      'void work();',
    ]);
    expect(marked).toHaveLength(15);
    expect(found).toEqual(marked);
  });

  test('are not claimed where somebody does', async () => {
    const { found } = await search([
      'async function work(): Promise<unknown> {',
      "  await save('a');",
      "  void save('b');",
      "  const kept = save('c');",
      '  let later; later = kept; await later;',
      "  save('d').catch(() => 0);",
      "  save('e').then(() => 1, () => 2);",
      "  save('f').catch(() => 0).finally(() => 1);",
      "  save('g').then(() => 1).catch(() => 2);",
      '  store.size(); anything.call(); anything;',
      "  ['h'].forEach((one) => { void save(one); });",
      "  await Promise.all(['i'].map(save));",
      "  for (const one of ['j']) await save(one);",
      "  return save('k');",
      '}',
      'export default work;',
    ]);
    expect(found).toEqual([]);
  });

  test('are told with their place, and the expression in one line', async () => {
    const text = `'${'x'.repeat(80)}'`;
    await writeFile(join(root, 'index.ts'), "import './inner';\n");
    await writeFile(
      join(root, 'inner.ts'),
      `async function save(text: string) { return text; }\nif (save.name) {\n  save(\n    ${text});\n}\nexport {};`,
    );
    expect(findFloatingPromises(root, join(root, 'index.ts'))).toEqual([
      expect.objectContaining({ file: 'inner.ts', line: 3, column: 3, dropped: false }),
    ]);
    const [found] = findFloatingPromises(root, join(root, 'index.ts')) ?? [];
    expect(found?.expression).toMatch(/^save\( 'x+…$/);
  });

  test('are not looked for in JavaScript that says nothing of types, nor without TypeScript', async () => {
    await writeFile(join(root, 'plain.js'), 'export const f = (g) => { g(); };');
    expect(findFloatingPromises(root, join(root, 'plain.js'))).toEqual([]);
    const bare = await mkdtemp(join(tmpdir(), 'alga-bare-'));
    expect(findFloatingPromises(bare, join(bare, 'index.ts'))).toBeUndefined();
    await rm(bare, { recursive: true });
  });
});
