import { setTimeout } from 'node:timers/promises';

import { Option, type Command } from 'commander';

import { authorError, unfold } from '../author-error.js';
import { count } from '../command.js';
import type { Environment } from '../environment.js';
import { logLine } from '../event-text.js';
import type { LogEvent } from '../events.js';
import { Failure } from '../failure.js';
import type { Output } from '../output.js';
import { readEvents } from '../server/events.js';
import type { ApiClient } from '../server/client.js';
import { SourceMaps } from '../server/source-maps.js';
import type { LogLine } from '../server/types.js';
import { addServerCommand, findInstall, MAPS_OPTION } from './server-command.js';

interface LogOptions {
  follow?: boolean;
  level?: string;
  request?: string;
  limit: number;
}

/** Lines remembered so as not to show them twice. */
const REMEMBERED = 2000;
/** Waits between attempts to take up a stream again, in milliseconds. */
const RECONNECT = [500, 1000, 2000, 5000, 10_000];

export function registerLogs(program: Command, environment: Environment): void {
  addServerCommand<LogOptions>(
    program,
    'logs [install]',
    "Show what extensions logged, with errors at the author's own lines",
    environment,
    async ({ options, args: [reference], output, client }) => {
      const query = new URLSearchParams({ limit: String(options.limit) });
      if (reference !== undefined) query.set('install', (await findInstall(client, reference)).id);
      if (options.level !== undefined) query.set('level', options.level);
      if (options.request !== undefined) query.set('request', options.request);
      if (options.follow !== true) {
        const maps = new SourceMaps(client);
        const { lines } = await client.json<{ lines: LogLine[] }>(`/api/logs?${query.toString()}`);
        const shown = [];
        for (const line of lines) shown.push(await explained(line, maps));
        const paint = (colour: string, text: string) => output.paint(colour, text);
        for (const text of shown.flatMap((line) => logLine(line, paint))) output.print(text);
        if (lines.length === 0) output.note(nothingFound(options));
        output.result({ lines: shown });
        return;
      }
      output.goOn();
      const maps = new SourceMaps(client);
      await followLogs(client, query, maps, output, environment.signal);
    },
    { json: 'print one JSON document; with --follow, one a line' },
  )
    .option('-f, --follow', 'go on and show new lines as they come')
    .addOption(
      new Option('--level <level>', 'only this level and above').choices([
        'debug',
        'info',
        'warn',
        'error',
      ]),
    )
    .option('--request <id>', 'only lines of one request')
    .option('-n, --limit <count>', 'how many past lines to show, 1 to 1000', count(1, 1000), 100)
    .option(...MAPS_OPTION);
}

/**
 * Prints log lines as they come, until `signal` aborts.
 *
 * @param query what to follow
 * @param since older lines are left out; milliseconds since 1970 by this machine's clock
 */
export async function followLogs(
  client: ApiClient,
  query: URLSearchParams,
  maps: SourceMaps,
  output: Output,
  signal: AbortSignal,
  since = 0,
): Promise<void> {
  // A stream that is taken up again starts with lines that were shown already.
  const shown = new Set<string>();
  query.set('follow', '1');
  const read = async () => {
    const path = `/api/logs?${query.toString()}`;
    for await (const data of readEvents(await client.stream(path, { signal }))) {
      const line = JSON.parse(data) as LogLine;
      if (line.id !== undefined && shown.has(line.id)) continue;
      if (new Date(line.at).getTime() < since) continue;
      if (line.id !== undefined) shown.add(line.id);
      for (const oldest of shown) {
        if (shown.size <= REMEMBERED) break;
        shown.delete(oldest);
      }
      output.event({ event: 'log', ...(await explained(line, maps)) });
    }
  };
  await resume(read, signal, output);
}

/** Reads a stream, and takes it up again when the connection breaks, until the user interrupts. */
async function resume(
  read: () => Promise<void>,
  signal: AbortSignal,
  output: Output,
): Promise<void> {
  let heard = false;
  for (let attempt = 0; ; attempt += 1) {
    const started = Date.now();
    try {
      await read();
      heard = true;
    } catch (error) {
      if (signal.aborted) return;
      if (isFinal(error) || (isUnreachable(error) && !heard)) throw error;
      heard ||= !isUnreachable(error);
      const message = error instanceof Error ? error.message : String(error);
      output.event({ event: 'reconnecting', message });
    }
    if (Date.now() - started > 30_000) attempt = 0;
    const pause = RECONNECT[Math.min(attempt, RECONNECT.length - 1)] ?? 10_000;
    try {
      await setTimeout(pause, undefined, { signal });
    } catch {
      return;
    }
  }
}

/** Whether the server will say the same again: the account, the tenant or the question is wrong. */
function isFinal(error: unknown): boolean {
  const status = error instanceof Failure ? error.details?.['status'] : undefined;
  return typeof status === 'number' && status >= 400 && status < 500 && status !== 429;
}

/** Whether nobody answers at all; a server that has answered before may come back. */
function isUnreachable(error: unknown): boolean {
  return error instanceof Failure && error.code === 'server.unreachable';
}

/** What was asked for when nothing was found; a part of a request's id finds nothing. */
function nothingFound({ request, level }: LogOptions): string {
  const which = level === undefined ? '' : ` of level ${level} or above`;
  if (request === undefined) return `No log lines${which}`;
  return `No log lines${which} of request ${request}; the whole id is in the answer's x-request-id header`;
}

/** A line with the error in it, if there is one, in the author's own files. */
async function explained(line: LogLine, maps: SourceMaps): Promise<Omit<LogEvent, 'event'>> {
  const message = unfold(line.message);
  if (!/main\.js:\d+:\d+/.test(message)) return line;
  const map = await maps.get(line.extension ?? '', line.version ?? '');
  const mapped = map === undefined ? undefined : authorError(message, map);
  return mapped === undefined ? line : { ...line, author_error: mapped };
}
