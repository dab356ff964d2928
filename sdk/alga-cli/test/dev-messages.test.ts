import { writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { followLogs } from '../src/commands/logs.js';
import { CallReport } from '../src/dev/call-report.js';
import { DevProxy, type ProxiedCall } from '../src/dev/proxy.js';
import { missingSettings, readDevSettings, type DevSettings } from '../src/dev/settings.js';
import type { Failure } from '../src/failure.js';
import { Output } from '../src/output.js';
import { ApiClient } from '../src/server/client.js';
import { SourceMaps } from '../src/server/source-maps.js';
import { FakeServer } from './fake-server.js';
import { MANIFEST, temporaryFolder, testEnvironment } from './fixture.js';

const LINE = { tenant: 'dev', extension: 'x', version: '1', request_id: 'r1' };

describe('what alga dev says about a call', () => {
  const server = new FakeServer();
  let client: ApiClient;
  let maps: SourceMaps;

  beforeEach(async () => {
    client = new ApiClient({ url: await server.start(), token: server.token, tenant: 'dev' });
    maps = new SourceMaps(client);
  });

  afterEach(async () => {
    server.gateway = undefined;
    server.logs.length = 0;
    server.executions.length = 0;
    await server.stop();
  });

  /** One call through the door of `alga dev`; returns what is printed about it. */
  async function call(path: string): Promise<string> {
    const environment = testEnvironment('/');
    const report = new CallReport(client, maps, new Map(), new Output(environment, false));
    const seen = new Promise<ProxiedCall>((onCall) => {
      const page = () => undefined;
      const onBadRequest = () => undefined;
      const base = () => '/api/ext/i1';
      void DevProxy.start({ client, base, page, onCall, onBadRequest, port: 0 }).then(
        async (proxy) => {
          await fetch(`${proxy.url}${path}`).then((answer) => answer.text());
          await proxy.stop();
        },
      );
    });
    await report.call(await seen);
    return environment.out;
  }

  test('a path that the manifest does not declare is said at once, with what to do', async () => {
    const refused = { code: 'gateway.endpoint_not_found', message: 'no such endpoint' };
    server.gateway = () => ({ status: 404, body: JSON.stringify(refused), requestId: 'r1' });
    server.requests.length = 0;
    const said = await call('/nothing');
    expect(said).toContain('GET /nothing → 404');
    expect(said).toContain('the gateway refused it: no such endpoint');
    expect(said).toContain('→ declare method and path under "api.endpoints" in manifest.json');
    // Nothing was executed, so no record is waited for.
    expect(server.requests.map(({ path }) => path)).not.toContain('/api/v1/executions');
  });

  test('a call that the host ended is explained, with what to change', async () => {
    server.gateway = () => ({ status: 504, body: '{}', requestId: 'r1' });
    server.executions.push({
      request_id: 'r1',
      end_class: 'cpu_limit',
      author_error: 'more than 5000 ms',
      finished_at: '2030-01-01T00:00:00Z',
    });
    const said = await call('/loop');
    expect(said).toMatch(/GET \/loop → 504 in \d+ ms {2}cpu_limit/);
    expect(said).toContain('computed longer than its CPU time (more than 5000 ms)');
    expect(said).toContain('→ look for a loop that does not end');
  });

  test('a handler that waits for ever is told so, not that an event loop had an error', async () => {
    server.gateway = () => ({ status: 502, body: '{}', requestId: 'r1' });
    const end = { end_class: 'guest_error', finished_at: '2030-01-01T00:00:00Z' };
    server.executions.push({ request_id: 'r1', ...end });
    const message = 'Error while (call) event loop error, but no exception is pending. Aborting.';
    server.log({ ...LINE, level: 'error', message });
    const said = await call('/wait');
    expect(said).toContain('waits for a promise that nothing will ever settle');
    expect(said).toContain('→ look for a promise whose resolve is never called');
  });

  test('a large body comes through: curl announces it with expect: 100-continue', async () => {
    const proxy = await DevProxy.start({
      client,
      base: () => '/api/ext/i1',
      page: () => undefined,
      onCall: () => undefined,
      onBadRequest: () => undefined,
      port: 0,
    });
    const status = await new Promise((resolve, reject) => {
      const headers = { expect: '100-continue' };
      const sent = request(`${proxy.url}/a`, { method: 'POST', headers }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      sent.once('error', reject).once('continue', () => sent.end(Buffer.alloc(2 << 20)));
    });
    await proxy.stop();
    expect(status).toBe(200);
  });

  test.each([
    ['GET /hello?name=Jürgen HTTP/1.1\r\nhost: localhost\r\n\r\n', 'must be percent-encoded'],
    ['nonsense\r\n\r\n', 'no request of HTTP'],
    [`GET / HTTP/1.1\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`, 'larger than 16 KiB'],
  ])('what is no request is answered in words, and told (%#)', async (text, why) => {
    const told: string[] = [];
    const proxy = await DevProxy.start({
      client,
      base: () => '/api/ext/i1',
      page: () => undefined,
      onCall: () => undefined,
      onBadRequest: (message) => told.push(message),
      port: 0,
    });
    const answer = await new Promise<string>((resolve, reject) => {
      let said = '';
      const socket = connect(Number(new URL(proxy.url).port), '127.0.0.1', () =>
        socket.write(text),
      );
      socket.setEncoding('utf8').on('data', (part: string) => (said += part));
      socket.once('error', reject).once('close', () => resolve(said));
    });
    await proxy.stop();
    expect(answer).toMatch(/^HTTP\/1\.1 400 [^]*\r\n\r\nalga dev: .*\n$/);
    expect(answer).toContain(why);
    expect(told).toEqual([expect.stringContaining(why)]);
  });

  test('lines of an earlier run are not shown again', async () => {
    server.log({ ...LINE, level: 'info', message: 'of this run' });
    server.logs.unshift({ ...server.logs[0]!, at: '2029-01-01T00:00:00Z', message: 'earlier' });
    const environment = testEnvironment('/');
    const stop = new AbortController();
    const since = Date.parse('2029-06-01T00:00:00Z');
    const output = new Output(environment, false);
    const query = new URLSearchParams();
    const followed = followLogs(client, query, maps, output, stop.signal, since);
    await expect.poll(() => environment.out).toContain('of this run');
    stop.abort();
    await followed;
    expect(environment.out).not.toContain('earlier');
  });
});

describe('alga.dev.json', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;

  beforeEach(async () => {
    folder = await temporaryFolder();
  });

  afterEach(() => folder.remove());

  test('a value of the wrong type is named, with what to write instead', async () => {
    const read = async (settings: object) => {
      await writeFile(join(folder.path, 'alga.dev.json'), JSON.stringify(settings));
      return readDevSettings(folder.path).catch((error: unknown) => (error as Failure).message);
    };
    expect(await read({ config: { region: 'eu', limit: 3 } })).toBe(
      'alga.dev.json: "config": the value of "limit" must be "3", in quotation marks',
    );
    expect(await read({ secrets: { key: { a: 1 } } })).toBe(
      'alga.dev.json: "secrets": the value of "key" must be a text, in quotation marks',
    );
  });

  test('what the manifest requires and the file does not set is named', () => {
    const manifest = {
      ...MANIFEST,
      config: { region: { required: true }, tier: {} },
      secrets: { key: { required: true }, other: { required: true } },
    };
    const settings: DevSettings = { config: {}, secrets: { other: 'x' }, egress: [], headers: [] };
    expect(missingSettings(manifest, settings)).toEqual([
      'manifest.json requires "region" of "config", which alga.dev.json does not set',
      'manifest.json requires "key" of "secrets", which alga.dev.json does not set',
    ]);
  });
});
