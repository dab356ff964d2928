import { execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { TestHost } from '@alga/extension-runtime/testing';
import { parse } from '@bytecodealliance/jco';
import { expect, test } from 'vitest';

import { callLegacy, loadComponent } from '../alga-cli/test/run-component.js';
import { missing, titled } from '../alga-cli/test/toolchains.js';

// Each sample is built by the command as authors run it, and its component is called.
const ALGA = join(import.meta.dirname, '..', 'alga-cli', 'bin', 'alga.js');

async function alga(sample: string, ...argv: string[]): Promise<Record<string, unknown>> {
  const options = [ALGA, ...argv, '--json', '--project', join(import.meta.dirname, sample)];
  const { stdout } = await promisify(execFile)(process.execPath, options);
  return JSON.parse(stdout) as Record<string, unknown>;
}

interface Call {
  method?: string;
  url: string;
  headers?: { name: string; value: string }[];
  body?: Uint8Array;
}

/** Builds a sample and calls its component, once per request, over one host. */
async function run(sample: string, host: TestHost, calls: Call[]) {
  await alga(sample, 'build');
  const bytes = await readFile(join(import.meta.dirname, sample, 'dist', 'main.wasm'));
  const component = await loadComponent(bytes);
  try {
    const answers = [];
    for (const { method = 'GET', url, headers = [], body } of calls) {
      const http = body === undefined ? { method, url, headers } : { method, url, headers, body };
      const context = { tenantId: 't', extensionId: 'e', requestId: 'r' };
      const { status, body: answer } = await component.call({ context, http }, host.imports);
      const text = new TextDecoder().decode(answer);
      answers.push({ status, json: text === '' ? undefined : (JSON.parse(text) as unknown) });
    }
    return answers;
  } finally {
    await component.close();
  }
}

test('secret-api-call reads the secret and calls the API', async () => {
  const host = new TestHost({
    secrets: { alga_api_key: 'k' },
    config: { api_url: 'https://other.example' },
    upstreams: { 'https://other.example/tickets': { json: [{ id: 1, title: 'Printer' }] } },
  });
  const [answer] = await run('secret-api-call', host, [{ url: '/tickets' }]);
  expect(answer).toEqual({ status: 200, json: { tickets: ['Printer'] } });
});

test('storage-counter counts across instances', async () => {
  const visit = { method: 'POST', url: '/counters/a' };
  const answers = await run('storage-counter', new TestHost(), [
    visit,
    visit,
    { url: '/counters' },
  ]);
  expect(answers.map(({ json }) => json)).toEqual([
    { name: 'a', value: 1 },
    { name: 'a', value: 2 },
    { a: 2 },
  ]);
});

test('webhook-router verifies signatures inside the engine', async () => {
  const body = new TextEncoder().encode('{"a":1}');
  const signature = createHmac('sha256', 's').update(body).digest('hex');
  const headers = (value: string) => [
    { name: 'x-delivery', value: 'd-1' },
    { name: 'x-signature', value: `sha256=${value}` },
  ];
  const hook = (value: string) => ({
    method: 'POST',
    url: '/hooks/shop',
    headers: headers(value),
    body,
  });
  const host = new TestHost({ secrets: { webhook_secret: 's' } });
  const calls = [hook('0'.repeat(64)), hook(signature), hook(signature)];
  const answers = await run('webhook-router', host, calls);
  expect(answers.map(({ status }) => status)).toEqual([401, 202, 200]);
});

test('ui-hello greets, and packs its page', async () => {
  const host = new TestHost({ user: { userName: 'Ann', clientName: 'Acme' } });
  const [answer] = await run('ui-hello', host, [{ url: '/greeting' }]);
  expect(answer?.json).toEqual({ greeting: 'Hello Ann of Acme' });
  const { entries } = await alga('ui-hello', 'pack', '--dry-run');
  expect((entries as { name: string }[]).map(({ name }) => name)).toContain('ui/main.js');
});

for (const [language, from] of [
  ['cpp', 'C++'],
  ['python', 'Python'],
  ['rust', 'Rust'],
] as const) {
  const reason = missing(language);
  test.skipIf(reason)(titled(`${language}-hello answers`, reason), async () => {
    const [answer] = await run(`${language}-hello`, new TestHost(), [{ url: '/hello' }]);
    expect(answer?.json).toEqual({ hello: 'world', from });
  });
}

test.each(['secret-api-call', 'rust-hello', 'python-hello', 'cpp-hello'])(
  '%s has a valid manifest',
  async (sample) => {
    expect(await alga(sample, 'validate')).toMatchObject({ ok: true });
  },
);

test('legacy-hello: a core module is wrapped, byte for byte inside, and runs', async () => {
  const folder = join(import.meta.dirname, 'legacy-hello');
  const module = await parse(await readFile(join(folder, 'main.wat'), 'utf8'));
  const [core, wrapped] = ['main.core.wasm', 'main.wasm'].map((name) => join(folder, 'dist', name));
  await mkdir(join(folder, 'dist'), { recursive: true });
  await writeFile(core!, module);
  const options = [ALGA, 'migrate', 'wrap', core!, '--out', wrapped!, '--force'];
  await promisify(execFile)(process.execPath, options);
  const component = await readFile(wrapped!);
  expect(component.includes('hello from a legacy module')).toBe(true);

  const lines: string[] = [];
  const answer = await callLegacy(component, {
    logInfo: (line) => void lines.push(new TextDecoder().decode(line)),
  });
  expect(lines).toEqual(['hello from a legacy module']);
  const { status, body_b64: body } = answer as { status: number; body_b64: string };
  expect([status, Buffer.from(body, 'base64').toString()]).toEqual([
    200,
    '{"hello":"world","from":"WAT"}',
  ]);
  expect(await alga('legacy-hello', 'validate')).toMatchObject({ ok: true });
});
