import { resolve } from 'node:path';

import type { Command } from 'commander';

import type { Environment } from '../environment.js';
import { ExitCode, Failure } from '../failure.js';
import type { ApiClient } from '../server/client.js';
import { explainRequest, type Explanation } from '../server/explain.js';
import { gatewayRefusal, refusalExitCode, refusalHint } from '../server/gateway-refusal.js';
import { SourceMaps } from '../server/source-maps.js';
import { readBounded } from '../read-bounded.js';
import { reasonOf } from '../system-failure.js';
import { addServerCommand, append, findInstall, MAPS_OPTION } from './server-command.js';

interface InvokeOptions {
  method?: string;
  data?: string;
  header?: string[];
  include?: boolean;
}

export function registerInvoke(program: Command, environment: Environment): void {
  addServerCommand<InvokeOptions>(
    program,
    'invoke <extension> [path]',
    'Call an installed extension through the gateway',
    environment,
    async ({ options, args: [extension = '', path = '/'], output, client }) => {
      const body = await requestBody(environment, options.data);
      const headers = new Map<string, string>();
      if (body !== undefined) headers.set('content-type', 'application/json');
      for (const [name, value] of (options.header ?? []).map(parseHeader)) headers.set(name, value);
      const method = requestMethod(options.method, body !== undefined);
      const started = performance.now();
      const route = path.startsWith('/') ? path : `/${path}`;
      const target = encodeURIComponent(await gatewayName(client, extension));
      const call = async () => {
        const answered = await client.send(`/api/ext/${target}${route}`, {
          method,
          headers: Object.fromEntries(headers),
          noTimeout: true,
          signal: environment.signal,
          ...(body === undefined ? {} : { body }),
        });
        return { response: answered, bytes: Buffer.from(await answered.arrayBuffer()) };
      };
      const { response, bytes } = await output.during(`Waiting for ${extension}`, call, {
        quick: true,
      });
      const milliseconds = Math.round(performance.now() - started);
      const requestId = response.headers.get('x-request-id') ?? undefined;
      const answer = {
        status: response.status,
        milliseconds,
        request_id: requestId,
        headers: Object.fromEntries(response.headers),
        body: bytes.toString('utf8'),
      };
      output.note(`${response.status} ${response.statusText} in ${milliseconds} ms`.trim());
      if (options.include === true) {
        for (const [name, value] of response.headers) output.print(`${name}: ${value}`);
        output.print();
      }
      if (bytes.length > 0) output.print(answer.body);
      if (response.status < 400) {
        output.result(answer);
        return;
      }
      const cause =
        requestId !== undefined && isExplained(response.status, answer.body)
          ? await explainRequest(client, new SourceMaps(client), requestId)
          : undefined;
      throw failure(response.status, answer, cause);
    },
  )
    .option('-X, --method <method>', 'HTTP method (default: GET, or POST with --data)')
    .option('-d, --data <json>', 'request body; @file reads it from a file')
    .option('-H, --header <name:value>', 'request header (repeatable)', append)
    .option('-i, --include', 'print the response headers too')
    .option(...MAPS_OPTION);
}

/**
 * The name that the gateway knows: an id or a slug as it is; a bare name is looked up where the
 * account may list installs.
 */
async function gatewayName(client: ApiClient, reference: string): Promise<string> {
  if (reference.includes('.')) return reference;
  try {
    return (await findInstall(client, reference)).id;
  } catch (error) {
    const unknown = error instanceof Failure && error.exitCode !== ExitCode.Usage;
    if (unknown && error.code !== 'server.unreachable') return reference;
    throw error;
  }
}

/** Whether the log says more than the answer: it is the extension that failed, not the caller. */
function isExplained(status: number, body: string): boolean {
  return status >= 500 || (status === 400 && body.includes('"extension.bad_request"'));
}

function failure(
  status: number,
  answer: Record<string, unknown>,
  cause: Explanation | undefined,
): Failure {
  const refused = gatewayRefusal(String(answer['body']));
  if (cause === undefined && refused !== undefined) {
    const message = `the gateway answered ${status}: ${refused.message}`;
    const hint = refusalHint(refused.code);
    return new Failure(refused.code, message, {
      exitCode: refusalExitCode(refused.code),
      details: { response: answer },
      ...(hint === undefined ? {} : { hint }),
    });
  }
  if (cause === undefined) {
    return new Failure('invoke.status', `the extension answered ${status}`, {
      exitCode: ExitCode.Failed,
      details: { response: answer },
    });
  }
  const { error, ended, hint } = cause;
  return new Failure(ended ? 'invoke.ended' : 'invoke.uncaught', error.message, {
    exitCode: ExitCode.Failed,
    details: { response: answer, stack: error.stack },
    ...(hint === undefined ? {} : { hint }),
    ...(error.location === undefined ? {} : { location: error.location }),
    ...(error.frame === undefined ? {} : { frame: error.frame }),
  });
}

/** No server takes more, in bytes. */
const LARGEST_BODY = 64 * 1024 * 1024;

async function requestBody(
  environment: Environment,
  data: string | undefined,
): Promise<Uint8Array | undefined> {
  if (data === undefined) return undefined;
  if (!data.startsWith('@')) return Buffer.from(data);
  const file = data.slice(1);
  return readBounded(resolve(environment.cwd, file), LARGEST_BODY, file).catch((cause: unknown) => {
    if (cause instanceof Failure) throw cause;
    throw new Failure('invoke.data_not_found', `Cannot read ${data.slice(1)}: ${reasonOf(cause)}`, {
      hint: 'name a file after the @, or give the body itself: --data \'{"key": 1}\'',
      exitCode: ExitCode.Usage,
      cause,
    });
  });
}

/** The method, in upper case; Node.js refuses the others in words about addresses. */
function requestMethod(named: string | undefined, hasBody: boolean): string {
  const method = (named ?? (hasBody ? 'POST' : 'GET')).toUpperCase();
  const wrong = (what: string, hint: string) =>
    new Failure('usage.method', what, { hint, exitCode: ExitCode.Usage });
  if (!/^[A-Z0-9!#$%&'*+.^_`|~-]+$/.test(method) || UNSENDABLE_METHODS.has(method)) {
    const hint = 'methods are GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS';
    throw wrong(`${JSON.stringify(named)} is no method of a request`, hint);
  }
  if (hasBody && (method === 'GET' || method === 'HEAD')) {
    throw wrong(`${method} has no body`, 'leave out --data, or name another method');
  }
  return method;
}

const UNSENDABLE_METHODS = new Set(['CONNECT', 'TRACE', 'TRACK']);
/** Headers that the connection sets by itself. */
const UNSENDABLE_HEADERS = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
]);

function parseHeader(text: string): [string, string] {
  const wrong = (what: string, hint: string) =>
    new Failure('usage.header', what, { hint, exitCode: ExitCode.Usage });
  const example = 'for example: --header "accept-language: de"';
  const at = text.indexOf(':');
  if (at <= 0) throw wrong(`"${text}" is not of the form name:value`, example);
  const [name, value] = [text.slice(0, at).trim().toLowerCase(), text.slice(at + 1).trim()];
  try {
    new Headers([[name, value]]);
  } catch {
    throw wrong(`${JSON.stringify(text)} holds characters that no header has`, example);
  }
  if (!UNSENDABLE_HEADERS.has(name)) return [name, value];
  throw wrong(`The header ${name} belongs to the connection, which sets it`, 'leave it out');
}
