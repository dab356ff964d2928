import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { createCapabilities } from './capabilities.js';
import * as runtime from './index.js';

// The plan leaves conveniences (preconfigured clients, for one) to later work: what an author gets
// is one object for each interface of the contract. Whoever adds to these lists decides that.
const METHODS = {
  context: ['extensionId', 'installId', 'remainingTimeMs', 'requestId', 'tenantId', 'versionId'],
  config: ['entries', 'get', 'require'],
  secrets: ['get', 'list'],
  http: ['fetch'],
  storage: ['delete', 'get', 'list', 'put'],
  log: ['debug', 'error', 'info', 'warn'],
  ui: ['call', 'callJson'],
  user: ['get'],
};
const EXPORTS = [
  'CAPABILITY_OF',
  'ConfigError',
  'ExtensionRequest',
  'HostError',
  'HttpError',
  'ProxyError',
  'RequestBodyError',
  'RequestHeaders',
  'SecretError',
  'StorageError',
  'UserError',
  'WIT_VERSION',
  'bytes',
  'callProxyJson',
  'createMockHostBindings',
  'describeError',
  'empty',
  'emptyResponse',
  'handler',
  'html',
  'isRunnableHandler',
  'json',
  'jsonResponse',
  'normalizeUserData',
  'redirect',
  'text',
];

test('a handler gets the interfaces of the contract, and no client that knows an API', () => {
  const identity = {
    requestId: 'r',
    tenantId: 't',
    extensionId: 'e',
    installId: 'i',
    versionId: 'v',
  };
  const given = createCapabilities({}, identity);
  const methods = Object.entries(given).map(([name, one]) => [
    name,
    Object.keys(one as object).sort(),
  ]);
  expect(Object.fromEntries(methods)).toEqual(METHODS);
});

test('the package exports what handlers are written with, and nothing else', () => {
  expect(Object.keys(runtime).sort()).toEqual(EXPORTS);
});

test('router and helpers for records are an entry of their own that nothing else needs', async () => {
  const folder = import.meta.dirname;
  const files = await readdir(folder, { recursive: true });
  const others = files.filter((name) => /\.ts$/.test(name) && !/\.test\.ts$|^extras\//.test(name));
  expect(others).toContain('handler.ts');
  const needing: string[] = [];
  for (const name of others) {
    if (/from '[^']*extras/.test(await readFile(join(folder, name), 'utf8'))) needing.push(name);
  }
  expect(needing).toEqual([]);
});
