import { createHash, createPublicKey, randomUUID, verify } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

import { readArchive } from '../src/bundle/archive.js';
import type { Extension, Install, LogLine } from '../src/server/types.js';

/**
 * The control plane's API as the commands see it, in memory: the shapes of its contract, real
 * checks of hash and signature, and no extension behind the gateway but an echo.
 */
export class FakeServer {
  readonly token = 'alga_boot_test-token';
  /** What the account of `token` is; another one than an operator may not read source maps. */
  role: 'operator' | 'tenant_admin' = 'operator';
  /** Of the publisher of all extensions, who may read source maps and nothing that is a tenant's. */
  readonly publisherToken = 'alga_publisher_test-token';
  readonly requests: { method: string; path: string; tenant: string | undefined }[] = [];
  readonly extensions: Extension[] = [];
  readonly installs: Install[] = [];
  readonly config = new Map<string, Record<string, string>>();
  readonly secrets = new Map<string, Map<string, string>>();
  readonly logs: LogLine[] = [];
  readonly executions: Record<string, unknown>[] = [];
  readonly sourceMaps = new Map<string, string>();
  /** What the gateway answers instead of the echo. */
  gateway: ((path: string) => { status: number; body: string; requestId: string }) | undefined;

  /** What the answer to a path waits for. */
  hold: (path: string) => Promise<void> = () => Promise.resolve();

  readonly #staged = new Map<string, Buffer>();
  readonly #keys = new Map<string, Buffer>();
  readonly #declared = new Map<string, string[]>();
  /** Configuration and secrets that the manifest of an extension declares. */
  readonly #settings = new Map<string, Record<'config' | 'secrets', object>>();
  readonly #followers = new Set<ServerResponse>();
  #server: Server | undefined;

  async start(port = 0): Promise<string> {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        send(response, 500, { error: { code: 'fake.bug', message: String(error) } });
      });
    });
    await new Promise<void>((done) => this.#server?.listen(port, '127.0.0.1', done));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections();
    await new Promise((done) => this.#server?.close(done));
  }

  /** Adds a log line, also for those who follow. */
  log(line: Omit<LogLine, 'at' | 'stream'>): void {
    // As the real server does: a record is one line.
    const message = line.message.replaceAll('\n', '\\x0a');
    const full = { at: '2030-01-01T00:00:00Z', stream: 'log', ...line, message };
    this.logs.push(full);
    for (const follower of this.#followers) follower.write(`data: ${JSON.stringify(full)}\n\n`);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://fake');
    const method = request.method ?? 'GET';
    const tenant = request.headers['x-tenant-id'];
    this.requests.push({ method, path: url.pathname, tenant: tenant?.toString() });
    if (url.pathname === '/readyz' || url.pathname === '/healthz') {
      send(response, 200, {});
      return;
    }
    const byPublisher = request.headers.authorization === `Bearer ${this.publisherToken}`;
    if (!byPublisher && request.headers.authorization !== `Bearer ${this.token}`) {
      send(response, 401, { error: { code: 'auth.bad_token', message: 'unknown token' } });
      return;
    }
    const body = await readAll(request);
    await this.hold(url.pathname);
    const json = (): Record<string, unknown> => JSON.parse(body.toString()) as never;
    const route = `${method} ${url.pathname}`;
    const parts = url.pathname.split('/').slice(1).map(decodeURIComponent);
    if (route === 'GET /api/v1/whoami') {
      const principal = byPublisher
        ? { id: 'p2', roles: ['publisher'], tenant: null, publisher: 'example', label: 'Pub' }
        : { id: 'p1', roles: [this.role], tenant: null, publisher: null, label: 'Op' };
      send(response, 200, { principal });
      return;
    }
    const forMaps = parts[2] === 'extensions' && parts[6] === 'source-map';
    if (byPublisher ? !forMaps || tenant !== undefined : forMaps && this.role !== 'operator') {
      send(response, 403, { error: { code: 'auth.forbidden', message: 'not for this account' } });
      return;
    }
    if (route === 'POST /api/v1/tenants' || route === 'POST /api/v1/publishers') {
      send(response, 201, {});
      return;
    }
    if (method === 'POST' && parts[2] === 'publishers' && parts[4] === 'keys') {
      const raw = Buffer.from(String(json()['public_key']), 'base64');
      const id = createHash('sha256').update(raw).digest('hex').slice(0, 16);
      this.#keys.set(id, raw);
      send(response, 201, { key_id: id });
      return;
    }
    if (route === 'POST /api/ext-bundles/upload-proxy') {
      const key = `sha256/_staging/${randomUUID()}/bundle.tar.zst`;
      this.#staged.set(key, body);
      send(response, 200, { upload: { key, strategy: 'staging' }, contentHash: hash(body) });
      return;
    }
    if (route === 'POST /api/ext-bundles/finalize') return this.#finalize(json(), response);
    if (route === 'POST /api/ext-bundles/abort') {
      send(response, 200, { status: 'deleted' });
      return;
    }
    if (route === 'GET /api/v1/extensions') {
      send(response, 200, { extensions: this.extensions });
      return;
    }
    if (forMaps) {
      const map = this.sourceMaps.get(`${parts[3] ?? ''}@${parts[5] ?? ''}`);
      if (map === undefined) notFound(response);
      else sendText(response, 200, map);
      return;
    }
    if (parts[1] === 'v1' && parts[2] === 'installs') {
      this.#installRoute(method, parts.slice(3), json, tenant?.toString(), response);
      return;
    }
    if (route === 'GET /api/v1/executions') {
      send(response, 200, { executions: this.executions });
      return;
    }
    if (route === 'GET /api/logs') {
      this.#logs(url, response);
      return;
    }
    if (parts[1] === 'ext') {
      const path = `/${parts.slice(3).join('/')}${url.search}`;
      const answer = this.gateway?.(path) ?? {
        status: 200,
        body: JSON.stringify({ path }),
        requestId: 'r1',
      };
      response.setHeader('x-request-id', answer.requestId);
      sendText(response, answer.status, answer.body);
      return;
    }
    notFound(response);
  }

  async #finalize(body: Record<string, unknown>, response: ServerResponse): Promise<void> {
    const archive = this.#staged.get(String(body['key']));
    const refuse = (code: string, message: string, status = 400) =>
      send(response, status, { success: false, error: { code, message } });
    if (archive === undefined) {
      refuse('STAGING_NOT_FOUND', 'nothing was uploaded there', 404);
      return;
    }
    const contentHash = hash(archive);
    if (body['declaredHash'] !== contentHash) {
      refuse('HASH_MISMATCH', 'another hash');
      return;
    }
    const signature = (body['signature'] as { text: string } | undefined)?.text;
    if (signature !== undefined && !this.#signatureHolds(signature, contentHash)) {
      refuse('SIGNATURE_INVALID', 'the signature does not hold');
      return;
    }
    const files = await readArchive(archive);
    const file = files.find(({ name }) => name === 'manifest.json');
    const manifest = JSON.parse(Buffer.from(file?.content ?? []).toString()) as {
      config?: Record<string, Setting>;
      secrets?: Record<string, Setting>;
      name: string;
      publisher: string;
      version: string;
      capabilities?: string[];
    };
    const slug = manifest.name;
    const known = this.extensions.find((extension) => extension.slug === slug);
    const extension = known ?? {
      id: randomUUID(),
      slug,
      name: slug,
      publisher: manifest.publisher,
      versions: [],
    };
    if (known === undefined) this.extensions.push(extension);
    if (extension.versions.some(({ version }) => version === manifest.version)) {
      refuse('EXTENSION_VERSION_ALREADY_EXISTS', 'this version exists already', 409);
      return;
    }
    const version = {
      id: randomUUID(),
      version: manifest.version,
      content_hash: contentHash,
      created_at: '2030-01-01T00:00:00Z',
    };
    extension.versions.push(version);
    this.#declared.set(extension.id, manifest.capabilities ?? []);
    const { config = {}, secrets = {} } = manifest;
    this.#settings.set(extension.id, { config: described(config), secrets: described(secrets) });
    const map = files.find(({ name }) => name === 'artifacts/source-map/main.js.map');
    if (map) this.sourceMaps.set(`${slug}@${version.version}`, Buffer.from(map.content).toString());
    send(response, 200, { extension, version, contentHash, canonicalKey: 'x', warnings: [] });
  }

  #signatureHolds(text: string, contentHash: string): boolean {
    const { key_id: id, signature } = JSON.parse(text) as { key_id: string; signature: string };
    const raw = this.#keys.get(id);
    if (raw === undefined) return false;
    const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), raw]);
    const key = createPublicKey({ key: der, format: 'der', type: 'spki' });
    const statement = Buffer.from(`alga-bundle:v1:${contentHash}`);
    return verify(null, statement, key, Buffer.from(signature, 'base64'));
  }

  #installRoute(
    method: string,
    [id, action, name]: string[],
    json: () => Record<string, unknown>,
    tenant: string | undefined,
    response: ServerResponse,
  ): void {
    if (id === undefined && method === 'GET') {
      const installs = this.installs.filter((install) => install.tenant === tenant);
      send(response, 200, { installs });
      return;
    }
    if (id === undefined) {
      this.#install(json(), tenant ?? 'none', response);
      return;
    }
    const install = this.installs.find((known) => known.id === id);
    if (install === undefined) {
      notFound(response);
      return;
    }
    const config = this.config.get(id) ?? {};
    const secrets = this.secrets.get(id) ?? new Map<string, string>();
    const declares = this.#settings.get(install.extension_id);
    const names = () => ({
      names: [...secrets.keys()].sort(),
      version: secrets.size,
      declared: declares?.secrets,
    });
    switch (`${method} ${action ?? ''}`) {
      case 'POST enable':
      case 'POST disable':
        install.enabled = action === 'enable';
        {
          send(response, 200, { install });
          return;
        }
      case 'POST update':
        install.version = String(json()['version']);
        {
          send(response, 200, { install });
          return;
        }
      case 'DELETE ':
        this.installs.splice(this.installs.indexOf(install), 1);
        response.writeHead(204).end();
        return;
      case 'PUT grants': {
        const { capabilities, egress } = json() as { capabilities?: string[]; egress?: string[] };
        install.granted = capabilities ?? install.granted;
        install.egress = egress ?? install.egress;
        send(response, 200, { install });
        return;
      }
      case 'GET config': {
        send(response, 200, { config, version: 1, declared: declares?.config });
        return;
      }
      case 'PATCH config': {
        const { set, unset } = json() as { set: Record<string, string>; unset: string[] };
        const kept = Object.entries({ ...config, ...set }).filter(([key]) => !unset.includes(key));
        this.config.set(id, Object.fromEntries(kept));
        const warnings = Object.keys(set)
          .filter((key) => key.includes('token'))
          .map((key) => `${key} looks like a secret: configuration can be read back`);
        const answer = { config: Object.fromEntries(kept), version: 2, declared: declares?.config };
        send(response, 200, { ...answer, ...(warnings.length === 0 ? {} : { warnings }) });
        return;
      }
      case 'GET secrets': {
        send(response, 200, names());
        return;
      }
      case 'PUT secrets':
        this.secrets.set(id, secrets.set(name ?? '', String(json()['value'])));
        {
          send(response, 200, names());
          return;
        }
      case 'DELETE secrets':
        secrets.delete(name ?? '');
        {
          send(response, 200, names());
          return;
        }
    }
    notFound(response);
  }

  #install(body: Record<string, unknown>, tenant: string, response: ServerResponse): void {
    const extension = this.extensions.find(({ id, slug }) =>
      [id, slug].includes(String(body['extension'])),
    );
    const version = extension?.versions.at(-1);
    if (extension === undefined || version === undefined) {
      notFound(response);
      return;
    }
    const requested = this.#declared.get(extension.id) ?? [];
    const granted = (body['capabilities'] as string[]).filter((name) => requested.includes(name));
    const install: Install = {
      id: randomUUID(),
      tenant,
      extension_id: extension.id,
      slug: extension.slug,
      version_id: version.id,
      version: version.version,
      content_hash: version.content_hash,
      enabled: true,
      status: 'ready',
      granted,
      requested,
      egress: body['egress'] as string[],
      config_version: 1,
      secrets_version: 1,
    };
    this.installs.push(install);
    this.config.set(install.id, body['config'] as Record<string, string>);
    const withheld = requested.filter((name) => !granted.includes(name));
    send(response, 201, { install, capability_difference: { requested, granted, withheld } });
  }

  #logs(url: URL, response: ServerResponse): void {
    const request = url.searchParams.get('request');
    const lines = this.logs.filter((line) => request === null || line.request_id === request);
    if (url.searchParams.get('follow') !== '1') {
      send(response, 200, { lines });
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const line of lines) response.write(`data: ${JSON.stringify(line)}\n\n`);
    this.#followers.add(response);
    response.once('close', () => this.#followers.delete(response));
  }
}

function hash(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

type Setting = { description?: string; required?: boolean };

/** As the real server answers: every member is there. */
function described(settings: Record<string, Setting>): object {
  return Object.fromEntries(
    Object.entries(settings).map(([name, { description = '', required = false }]) => [
      name,
      { description, required },
    ]),
  );
}

function send(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
}

function sendText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain' });
  response.end(text);
}

function notFound(response: ServerResponse): void {
  send(response, 404, {
    error: { code: 'fake.not_found', message: 'not found', request_id: 'r9' },
  });
}

async function readAll(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}
