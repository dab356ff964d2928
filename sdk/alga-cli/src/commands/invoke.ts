import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';

import type { Command } from 'commander';

import { authorError, type AuthorError } from '../author-error.js';
import type { Environment } from '../environment.js';
import { ExitCode, Failure, formatLocation } from '../failure.js';
import type { Output } from '../output.js';
import type { ApiClient } from '../server/client.js';
import { SourceMaps } from '../server/source-maps.js';
import type { LogLine } from '../server/types.js';
import { addServerCommand, append, findInstall } from './server-command.js';

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
    async ({ options, args: [extension = '', path = '/'], output, client, project }) => {
      const body = await requestBody(environment, options.data);
      const headers = new Map<string, string>();
      if (body !== undefined) headers.set('content-type', 'application/json');
      for (const [name, value] of (options.header ?? []).map(parseHeader)) headers.set(name, value);
      const started = performance.now();
      const route = path.startsWith('/') ? path : `/${path}`;
      const target = encodeURIComponent(await gatewayName(client, extension));
      const response = await client.send(`/api/ext/${target}${route}`, {
        method: options.method ?? (body === undefined ? 'GET' : 'POST'),
        headers: Object.fromEntries(headers),
        noTimeout: true,
        signal: environment.signal,
        ...(body === undefined ? {} : { body }),
      });
      const bytes = Buffer.from(await response.arrayBuffer());
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
        response.status >= 500 && requestId !== undefined
          ? await explain(client, project, requestId)
          : undefined;
      throw failure(response.status, answer, cause, output);
    },
  )
    .option('-X, --method <method>', 'HTTP method (default: GET, or POST with --data)')
    .option('-d, --data <json>', 'request body; @file reads it from a file')
    .option('-H, --header <name:value>', 'request header (repeatable)', append)
    .option('-i, --include', 'print the response headers too');
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

function failure(
  status: number,
  answer: Record<string, unknown>,
  cause: AuthorError | undefined,
  output: Output,
): Failure {
  if (cause === undefined) {
    return new Failure('invoke.status', `the extension answered ${status}`, {
      exitCode: ExitCode.Failed,
      details: { response: answer },
    });
  }
  if (cause.location !== undefined) output.note(`thrown at ${formatLocation(cause.location)}`);
  return new Failure('invoke.uncaught', cause.message, {
    exitCode: ExitCode.Failed,
    details: { response: answer, stack: cause.stack },
    ...(cause.location === undefined ? {} : { location: cause.location }),
    ...(cause.frame === undefined ? {} : { frame: cause.frame }),
  });
}

/** What the tenant's log says about a failed request; undefined when it cannot be read. */
async function explain(
  client: ApiClient,
  project: string,
  requestId: string,
): Promise<AuthorError | undefined> {
  const maps = new SourceMaps(client, project);
  const query = new URLSearchParams({ request: requestId, limit: '100' });
  // Log lines travel in batches: the one in question may arrive a moment after the answer.
  for (let attempt = 0; attempt < 10; attempt += 1) {
    let lines: LogLine[];
    try {
      ({ lines } = await client.json<{ lines: LogLine[] }>(`/api/logs?${query.toString()}`));
    } catch {
      return undefined;
    }
    for (const line of lines.filter(({ level }) => level === 'error').reverse()) {
      const map = await maps.get(line.extension ?? '', line.version ?? '');
      const found = map === undefined ? undefined : authorError(line.message, map);
      if (found !== undefined) return found;
      if (line.message.startsWith('Uncaught ')) {
        const [head = ''] = line.message.split('\n');
        return { message: head.slice('Uncaught '.length), stack: line.message };
      }
    }
    await new Promise((done) => setTimeout(done, 200));
  }
  return undefined;
}

async function requestBody(
  environment: Environment,
  data: string | undefined,
): Promise<Uint8Array | undefined> {
  if (data === undefined) return undefined;
  if (!data.startsWith('@')) return Buffer.from(data);
  return readFile(resolve(environment.cwd, data.slice(1))).catch((cause: unknown) => {
    throw new Failure('invoke.data_not_found', `Cannot read ${data.slice(1)}`, {
      exitCode: ExitCode.Usage,
      cause,
    });
  });
}

function parseHeader(text: string): [string, string] {
  const at = text.indexOf(':');
  if (at > 0) return [text.slice(0, at).trim().toLowerCase(), text.slice(at + 1).trim()];
  throw new Failure('usage.header', `"${text}" is not of the form name:value`, {
    exitCode: ExitCode.Usage,
  });
}
