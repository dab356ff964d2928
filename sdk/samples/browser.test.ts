import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { chromium, type Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { DevProxy } from '../alga-cli/src/dev/proxy.js';
import { ApiClient } from '../alga-cli/src/server/client.js';
import { FakeServer } from '../alga-cli/test/fake-server.js';
import { titled } from '../alga-cli/test/toolchains.js';

const SAMPLE = join(import.meta.dirname, 'ui-hello');
const ALGA = join(import.meta.dirname, '..', 'alga-cli', 'bin', 'alga.js');
const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
const SCREENSHOT = join(import.meta.dirname, '..', 'docs', 'images', 'host-page.png');

const TYPES: Record<string, string> = { html: 'text/html', js: 'text/javascript', css: 'text/css' };

/** Serves built pages as the runner does, on an origin of its own. */
async function servePages(folder: string): Promise<Server> {
  const server = createServer((request, response) => {
    const name = new URL(request.url ?? '/', 'http://x').pathname.slice(1);
    readFile(join(folder, name)).then(
      (content) => {
        const type = TYPES[name.split('.').at(-1) ?? ''] ?? 'application/octet-stream';
        response.writeHead(200, { 'content-type': type });
        response.end(content);
      },
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return server;
}

const port = (server: Server) => (server.address() as AddressInfo).port;

const noChromium = existsSync(CHROMIUM) ? undefined : `there is no ${CHROMIUM}`;

describe.skipIf(noChromium)(titled('a page in a host, in Chromium', noChromium), () => {
  let browser: Browser;
  let pages: Server;
  let proxy: DevProxy;
  const algad = new FakeServer();

  beforeAll(async () => {
    await promisify(execFile)(process.execPath, [ALGA, 'build', '--project', SAMPLE]);
    pages = await servePages(join(SAMPLE, 'dist', 'ui'));
    const url = await algad.start();
    const body = JSON.stringify({ greeting: 'Hello Ann of Acme' });
    algad.gateway = () => ({ status: 200, body, requestId: 'r1' });
    proxy = await DevProxy.start({
      client: new ApiClient({ url, token: algad.token, tenant: 'dev' }),
      base: () => '/api/ext/ui-hello',
      page: () => `http://127.0.0.1:${String(port(pages))}/index.html`,
      onCall: () => undefined,
      onBadRequest: () => undefined,
      port: 0,
    });
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
  });

  afterAll(async () => {
    await browser.close();
    await proxy.stop();
    await algad.stop();
    pages.close();
  });

  test('greets through the handler, follows the theme, and fits its frame', async () => {
    const page = await browser.newPage({ viewport: { width: 960, height: 400 } });
    const problems: string[] = [];
    page.on('pageerror', (error) => problems.push(error.message));
    await page.goto(`${proxy.url}/__alga/host`);
    const frame = page.frameLocator('#extension');
    await frame.getByText('Hello Ann of Acme').waitFor();
    expect(await page.textContent('#status')).toBe('the extension is ready');

    const primary = () =>
      frame
        .locator('html')
        .evaluate((element) => getComputedStyle(element).getPropertyValue('--alga-primary'));
    const light = await primary();
    await page.click('#theme');
    await expect.poll(primary).not.toBe(light);

    const height = async () => Number(await page.getAttribute('#extension', 'height'));
    await expect.poll(height).toBeLessThan(200);
    expect(await height()).toBeGreaterThanOrEqual(100);
    expect(problems).toEqual([]);
    if (process.env['ALGA_SCREENSHOTS'] !== undefined) {
      await mkdir(join(SCREENSHOT, '..'), { recursive: true });
      await page.screenshot({ path: SCREENSHOT });
    }
  });

  test('stays silent in a page that only claims to be the host', async () => {
    const page = await browser.newPage();
    const problems: string[] = [];
    page.on('pageerror', (error) => problems.push(error.message));
    const origin = `http://127.0.0.1:${String(port(pages))}`;
    const claim = encodeURIComponent('https://app.example.com');
    await page.goto(`${proxy.url}/__alga/host`);
    await page.setContent(`<iframe src="${origin}/index.html?parentOrigin=${claim}"></iframe>`);
    await expect.poll(() => problems.join()).toMatch(/embedded by http:\/\/127\.0\.0\.1/);
  });
});
