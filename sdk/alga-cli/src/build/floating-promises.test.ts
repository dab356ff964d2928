import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { findFloatingPromises } from './floating-promises.js';

const RUNTIME = fileURLToPath(new URL('../../../runtime-bindings', import.meta.url));

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
    const found = findFloatingPromises(root, entry).map(({ line }) => line);
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
    const [found] = findFloatingPromises(root, join(root, 'index.ts'));
    expect(found?.expression).toMatch(/^save\( 'x+…$/);
  });

  test('are looked for by the TypeScript of this package where the project has none', async () => {
    const bare = await mkdtemp(join(tmpdir(), 'alga-bare-'));
    const native = join(bare, 'node_modules', 'typescript');
    for (const installed of [false, true]) {
      if (installed) {
        // The native version has a command and no interface for programs.
        await mkdir(native, { recursive: true });
        await writeFile(join(native, 'package.json'), '{"version":"7.0.0","main":"index.js"}');
        await writeFile(join(native, 'index.js'), "exports.version = '7.0.0';");
      }
      await writeFile(join(bare, 'index.ts'), 'async function f() {}\nf();\nexport {};');
      const found = findFloatingPromises(bare, join(bare, 'index.ts'));
      expect(found).toEqual([expect.objectContaining({ file: 'index.ts', line: 2 })]);
    }
    await rm(bare, { recursive: true });
  });
});

describe('promises that nobody awaits in plain JavaScript', { timeout: SLOW }, () => {
  let root: string;

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'alga-promises-js-'));
    const installed = join(root, 'node_modules', '@alga');
    await mkdir(installed, { recursive: true });
    await symlink(RUNTIME, join(installed, 'extension-runtime'));
    await writeFile(join(root, 'package.json'), '{"type":"module"}');
  });

  afterAll(() => rm(root, { recursive: true, force: true }));

  /** `file:line` of those marked `// floats`, and of those that were found. */
  async function search(files: Record<string, string[]>) {
    const marked = [];
    for (const [name, lines] of Object.entries(files)) {
      await writeFile(join(root, name), lines.join('\n'));
      for (const [at, text] of lines.entries()) {
        if (text.endsWith('// floats')) marked.push(`${name}:${at + 1}`);
      }
    }
    const entry = Object.keys(files)[0] ?? '';
    const found = findFloatingPromises(root, join(root, entry));
    return { marked, found: found.map(({ file, line }) => `${file}:${line}`) };
  }

  const HANDLER = "import { handler, json } from '@alga/extension-runtime';";

  test.each(['index.js', 'index.mjs'])('of own functions and of the host (%s)', async (name) => {
    const { marked, found } = await search({
      [name]: [
        HANDLER,
        "import { save, later } from './store.js';",
        'async function remember(path) {',
        "  if (path === '') throw new Error('nothing to remember');",
        '}',
        'const note = async (text) => text.length;',
        'class Store {',
        '  async put() {}',
        '  size() { return 1; }',
        '}',
        'export default handler(async ({ request, storage, secrets, log }) => {',
        '  remember(request.path); // floats',
        "  note('a'); // floats",
        '  new Store().put(); // floats',
        "  storage.put('n', 'k', new Uint8Array()); // floats",
        "  secrets.get('k').then((key) => key.length); // floats",
        "  fetch('https://api.example.com/'); // floats",
        "  ['b'].forEach(async (one) => { await note(one); }); // floats",
        "  ['c'].map(remember); // floats",
        '  later(); // floats',
        '  save(storage, request.path); // floats',
        "  log.info('answered'); new Store().size();",
        '  return json({ ok: true });',
        '});',
      ],
      'store.js': [
        'export async function save(store, path) {',
        "  store.put('n', path, new Uint8Array()); // floats",
        '  await drop({ store }, [path]);',
        '}',
        'async function drop({ store }, [path]) {',
        "  const records = store; records.delete('n', path); // floats",
        '}',
        'export const later = () => Promise.resolve(1);',
      ],
    });
    expect(marked).toHaveLength(12);
    expect(found.sort()).toEqual(marked.sort());
  });

  test('and not where somebody hears of their end, or nothing is known', async () => {
    const { found } = await search({
      'index.js': [
        HANDLER,
        'async function remember(path) { return path; }',
        'function each(list, call) { for (const one of list) call(one); }',
        '/** @param {{ put(): void }} store */',
        'function typed(store) { store.put(); }',
        'export default handler(async ({ request, storage }) => {',
        '  await remember(request.path);',
        "  void remember('a');",
        "  remember('b').catch(() => undefined);",
        "  remember('c').then(() => 1, () => 2);",
        "  const kept = remember('d');",
        "  const all = ['e'].map(remember);",
        '  await Promise.all([kept, ...all]);',
        "  each(['f'], (one) => one.length);",
        '  typed({ put() {} });',
        "  globalThis.unknown?.('g');",
        "  request.path.split('/');",
        '  const { size } = { size: 1 }; size;',
        "  return json(await storage.get('n', 'k'));",
        '});',
      ],
    });
    expect(found).toEqual([]);
  });

  test('in code that calls itself for ever', async () => {
    const { marked, found } = await search({
      'index.js': [
        'export default function loop(a) { a(); loop(a); other(a); }',
        'function other(b) { b(); loop(b); }',
        'async function work() {}',
        'export const start = () => { once(work); };',
        'function once(c) { c(); } // called with work',
        'const d = d2, d2 = d; d();',
        'work(); // floats',
      ],
    });
    expect(marked).toHaveLength(1);
    expect(found).toEqual(['index.js:5', ...marked]);
  });
});
