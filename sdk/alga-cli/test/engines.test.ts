import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { TestHost } from '@alga/extension-runtime/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { LACKING_GLOBALS, MISSING_EVERYWHERE, PARTIAL_GLOBALS } from '../src/build/lacking.js';
import { main } from '../src/main.js';
import { MANIFEST, temporaryFolder, testEnvironment, writeProject } from './fixture.js';
import { loadComponent } from './run-component.js';

const PAGE = join(
  dirname(fileURLToPath(import.meta.url)),
  '../../docs/javascript-compatibility.md',
);

interface Built {
  ok: boolean;
  error?: { code: string; message: string; hint: string };
  component_bytes: number;
  engine: { engine: string; uses: { what: string; file: string; line: number }[] };
  warnings?: { message: string; location: object }[];
}

let folder: Awaited<ReturnType<typeof temporaryFolder>>;

beforeEach(async () => {
  folder = await temporaryFolder();
});

afterEach(() => folder.remove());

/** A handler around `body`; `top` stands before it. */
const source = (body: string, top = '') =>
  `import { handler, json } from '@alga/extension-runtime';\n${top}\nexport default handler(async ({ request }) => {\n  ${body}\n});\n`;

async function build(files: Record<string, string>, ...options: string[]) {
  await writeProject(folder.path, { 'manifest.json': JSON.stringify(MANIFEST), ...files });
  const environment = testEnvironment(folder.path);
  const code = await main(['build', '--json', ...options], environment);
  return { code, ...(JSON.parse(environment.out) as Built) };
}

describe('alga build --engine', { timeout: 300_000 }, () => {
  test('auto takes QuickJS for what it can run, and the component answers', async () => {
    const body = `await new Promise((resolve) => setTimeout(resolve, 2));
  const drawn = [Math.random(), crypto.randomUUID()];
  return json({ drawn, q: request.query.get('q'), now: Date.now() });`;
    const built = await build({ 'src/index.ts': source(body) }, '--engine', 'auto');
    expect(built.engine).toEqual({ engine: 'quickjs', asked: 'auto', uses: [] });
    expect(built.component_bytes).toBeLessThan(4 << 20);
    const component = await loadComponent(await readFile(join(folder.path, 'dist', 'main.wasm')));
    try {
      const call = async () => {
        const context = { tenantId: 't', extensionId: 'e' };
        const http = { method: 'GET', url: '/?q=%C3%A4', headers: [] };
        const answer = await component.call({ context, http }, new TestHost().imports);
        const text = new TextDecoder().decode(answer.body);
        return JSON.parse(text) as { drawn: unknown[]; q: string; now: number };
      };
      const [one, two] = [await call(), await call()];
      expect(one.q).toBe('ä');
      expect(Math.abs(one.now - Date.now())).toBeLessThan(60_000);
      expect(one.drawn[0]).not.toBe(two.drawn[0]);
      expect(one.drawn[1]).not.toBe(two.drawn[1]);
    } finally {
      await component.close();
    }
  });

  test.each([
    ['FormData', "return json(new FormData().has('a'));", 'FormData'],
    ['a member of globalThis', 'return json(globalThis.structuredClone({}));', 'structuredClone'],
    ['crypto.subtle', "return json(await crypto.subtle.digest('SHA-256', x));", 'crypto.subtle'],
    ['a stream of a body', 'return json((await fetch("x")).body!.getReader());', 'streams'],
    ['another encoding', "return json(new TextDecoder('latin1').encoding);", 'TextDecoder'],
    ['a part of URL', "return json(new URL('http://x').host);", 'URL'],
  ])('auto sees %s, and says where it is', async (_, body, what) => {
    const files = { 'src/index.ts': source(body, 'declare const x: Uint8Array<ArrayBuffer>;') };
    await writeProject(folder.path, { 'manifest.json': JSON.stringify(MANIFEST), ...files });
    const { chooseEngine } = await import('../src/build/choose-engine.js');
    const entry = join(folder.path, 'src', 'index.ts');
    const chosen = await chooseEngine('auto', folder.path, entry, []);
    expect(chosen.engine).toBe('starlingmonkey');
    expect(chosen.uses[0]).toMatchObject({ file: 'src/index.ts', line: 4 });
    expect(chosen.uses[0]!.what).toContain(what);
  });

  test('auto is not misled by names, by questions and by code that is never used', async () => {
    const top = `class Blob { size = 1; }
const own = { FormData: 1, subtle: 2, blob: 3 };
export const unused = () => new EventTarget();
const decoder = new TextDecoder('UTF-8');`;
    const body = `if (typeof File !== 'undefined') return json(null);
  return json([new Blob().size, own.FormData, own.subtle, own.blob, decoder.encoding, 'URL']);`;
    await writeProject(folder.path, {
      'manifest.json': JSON.stringify(MANIFEST),
      'src/index.ts': source(body, top).replace('export const unused', 'const unused'),
    });
    const { chooseEngine } = await import('../src/build/choose-engine.js');
    const entry = join(folder.path, 'src', 'index.ts');
    expect(await chooseEngine('auto', folder.path, entry, [])).toMatchObject({
      engine: 'quickjs',
      uses: [],
    });
  });

  test('auto takes StarlingMonkey for await at the top level; QuickJS refuses it in words', async () => {
    const files = { 'src/index.ts': source('return json(top);', 'const top = await 1;') };
    const { chooseEngine } = await import('../src/build/choose-engine.js');
    const refused = await build(files, '--engine', 'quickjs');
    expect(refused.error?.message).toContain('Top-level await');
    expect(refused.error?.hint).toContain('--engine starlingmonkey');
    const entry = join(folder.path, 'src', 'index.ts');
    const chosen = await chooseEngine('auto', folder.path, entry, []);
    expect(chosen.engine).toBe('starlingmonkey');
    expect(chosen.uses[0]).toMatchObject({ line: 2 });
  });

  test('quickjs builds what it is told to, and warns of what it lacks', async () => {
    const built = await build(
      { 'src/index.ts': source("return json(new URL('http://a.example/x').pathname);") },
      '--engine',
      'quickjs',
    );
    expect(built.code).toBe(0);
    expect(built.warnings?.[0]).toMatchObject({
      message: 'QuickJS lacks URL, or has it only in part',
      location: { file: 'src/index.ts', line: 4 },
    });
  });

  test('package.json names the engine of the project, and the option overrules it', async () => {
    const files = {
      'src/index.ts': source('return json(1);'),
      'package.json': JSON.stringify({ alga: { engine: 'quickjs' } }),
    };
    expect((await build(files)).engine.engine).toBe('quickjs');
    await writeFile(
      join(folder.path, 'package.json'),
      JSON.stringify({ alga: { engine: 'spidermonkey' } }),
    );
    const environment = testEnvironment(folder.path);
    expect(await main(['build'], environment)).toBe(1);
    expect(environment.err).toContain('There is no engine "spidermonkey" [build.unknown_engine]');
    expect(environment.err).toContain('starlingmonkey, quickjs, auto');
  });

  test('random numbers drawn while the component is built fail the build, at their line', async () => {
    const files = { 'src/index.ts': source('return json(id);', 'const id = Math.random();') };
    const built = await build(files, '--engine', 'quickjs');
    expect(built.code).toBe(1);
    expect(built.error).toMatchObject({
      code: 'build.random_at_build',
      location: { file: 'src/index.ts', line: 2 },
    });
  });

  test('an engine is for JavaScript alone', async () => {
    const built = await build({ 'Cargo.toml': '' }, '--engine', 'quickjs');
    expect(built.error).toMatchObject({ code: 'build.no_engine' });
    const unknown = await build({ 'src/index.ts': '' }, '--engine', 'v8');
    expect(unknown.error).toMatchObject({ code: 'build.unknown_engine' });
  });
});

describe('the page on JavaScript compatibility', () => {
  test('denies QuickJS exactly what auto looks for', async () => {
    const page = await readFile(PAGE, 'utf8');
    const rows = [...page.matchAll(/^\| `(\w+)` +\| +(\w+) +\| +(\w+) +\|/gm)].map(
      ([, name, starling, quick]) => ({ name, starling, quick }),
    );
    const named = (quick: string, starling: string) =>
      rows.filter((r) => r.quick === quick && r.starling === starling).map((r) => r.name);
    expect(named('no', 'yes').sort()).toEqual([...LACKING_GLOBALS].sort());
    expect(named('partly', 'yes')).toEqual([...PARTIAL_GLOBALS]);
    expect(named('no', 'no').sort()).toEqual([...MISSING_EVERYWHERE].sort());
  });
});
