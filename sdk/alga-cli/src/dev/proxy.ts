import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

import { Failure } from '../failure.js';
import type { ApiClient } from '../server/client.js';
import { gatewayRefusal, type GatewayRefusal } from '../server/gateway-refusal.js';
import { hostPage } from './host-page.js';

/** One call that went through. */
export interface ProxiedCall {
  method: string;
  path: string;
  status: number;
  milliseconds: number;
  requestId: string | undefined;
  /** Set when the gateway refused it and the extension never ran. */
  refusal?: GatewayRefusal;
}

export interface ProxyOptions {
  client: ApiClient;
  /** Path of the install at the gateway (`/api/ext/<install>`), or undefined before the first build. */
  base: () => string | undefined;
  /** Address of the extension's page, when it has one. */
  page: () => string | undefined;
  onCall: (call: ProxiedCall) => void;
  /** Hears of what is no request of HTTP, in the words that were answered. */
  onBadRequest: (why: string) => void;
  port: number;
}

/** Largest request body that is passed on. */
const MAX_BODY = 64 * 1024 * 1024;
/** Headers that belong to one connection, not to the message. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'te',
  'trailer',
  // Node.js has answered it already, and its client refuses to send it.
  'expect',
  'content-encoding',
  'content-length',
]);

/**
 * The author's door to the running extension: `http://localhost:<port>/path` becomes a call of the
 * install through the gateway, with the development account's token. Listens on loopback only, and
 * answers only to requests that name it by a loopback name, so that no web page can reach it
 * through a name of its own (DNS rebinding).
 */
export class DevProxy {
  readonly #server: Server;
  readonly #options: ProxyOptions;

  private constructor(options: ProxyOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        const message = error instanceof Error ? error.message : String(error);
        if (!response.headersSent) response.writeHead(502, { 'content-type': 'text/plain' });
        response.end(`alga dev: ${message}\n`);
      });
    });
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      if (!socket.writable || error.code === 'ECONNRESET') {
        socket.destroy();
        return;
      }
      const why = badRequest(error);
      options.onBadRequest(why);
      const text = `alga dev: ${why}\n`;
      socket.end(
        'HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n' +
          `content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
      );
    });
  }

  static async start(options: ProxyOptions): Promise<DevProxy> {
    const proxy = new DevProxy(options);
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', (error: NodeJS.ErrnoException) => {
        reject(error.code === 'EADDRINUSE' ? portInUse(options.port) : error);
      });
      proxy.#server.listen(options.port, '127.0.0.1', resolve);
    });
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const name = (request.headers.host ?? '').replace(/:\d+$/, '');
    if (!['localhost', '127.0.0.1', '[::1]'].includes(name)) {
      response.writeHead(403, { 'content-type': 'text/plain' });
      response.end('alga dev answers to localhost only\n');
      return;
    }
    const path = request.url ?? '/';
    if (path === '/__alga/host') {
      const page = this.#options.page();
      response.writeHead(page === undefined ? 404 : 200, {
        'content-type': 'text/html; charset=utf-8',
      });
      response.end(page === undefined ? 'The extension has no page (ui.entry)' : hostPage(page));
      return;
    }
    const base = this.#options.base();
    if (base === undefined) {
      response.writeHead(503, { 'content-type': 'text/plain', 'retry-after': '1' });
      response.end('alga dev: the extension has not been built yet\n');
      return;
    }
    await this.#forward(`${base}${path}`, path, request, response);
  }

  async #forward(
    target: string,
    path: string,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const method = request.method ?? 'GET';
    const body = await readBody(request);
    const headers = Object.fromEntries(
      Object.entries(request.headers)
        .filter(
          ([key]) => !HOP_BY_HOP.has(key) && !['host', 'authorization', 'cookie'].includes(key),
        )
        .map(([key, value]) => [key, Array.isArray(value) ? value.join(', ') : (value ?? '')]),
    );
    const started = performance.now();
    const answer = await this.#options.client.send(target, {
      method,
      headers,
      noTimeout: true,
      ...(body.length === 0 ? {} : { body }),
    });
    const bytes = Buffer.from(await answer.arrayBuffer());
    const kept = [...answer.headers].filter(([key]) => !HOP_BY_HOP.has(key));
    response.writeHead(answer.status, kept.flat());
    response.end(bytes);
    const refusal = answer.status < 400 ? undefined : gatewayRefusal(bytes.toString('utf8'));
    this.#options.onCall({
      method,
      path,
      status: answer.status,
      milliseconds: Math.round(performance.now() - started),
      requestId: answer.headers.get('x-request-id') ?? undefined,
      ...(refusal === undefined ? {} : { refusal }),
    });
  }
}

/** The most likely mistake by hand is an address with letters that no address has. */
function badRequest({ code, message }: NodeJS.ErrnoException): string {
  switch (code) {
    case 'HPE_INVALID_URL':
      return 'the address holds characters that must be percent-encoded, for example %C3%BC for ü';
    case 'HPE_HEADER_OVERFLOW':
      return 'the headers of the request are larger than 16 KiB';
    default:
      return `this is no request of HTTP/1.1: ${message}`;
  }
}

function portInUse(port: number): Failure {
  return new Failure('dev.port_in_use', `Port ${port} is taken by another program`, {
    hint: 'end the other alga dev, or take another port: alga dev --port 0 takes a free one',
  });
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY) throw new Error('the request body is larger than 64 MiB');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
