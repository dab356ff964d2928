import { setTimeout } from 'node:timers/promises';

import { Option, type Command } from 'commander';

import { authorError, unfold, type AuthorError } from '../author-error.js';
import { count } from '../command.js';
import type { Environment } from '../environment.js';
import { Failure, formatLocation } from '../failure.js';
import type { Output } from '../output.js';
import { readEvents } from '../server/events.js';
import type { ApiClient } from '../server/client.js';
import { SourceMaps } from '../server/source-maps.js';
import type { LogLine } from '../server/types.js';
import { addServerCommand, findInstall } from './server-command.js';

interface LogOptions {
  follow?: boolean;
  level?: string;
  request?: string;
  limit: number;
}

const COLOURS: Record<string, string> = { debug: '90', info: '36', warn: '33', error: '31' };
/** What the runtime writes before each call of the host. */
const HOST_CALL = 'host call ';
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
        const printer = new LogPrinter(output, new SourceMaps(client));
        const { lines } = await client.json<{ lines: LogLine[] }>(`/api/logs?${query.toString()}`);
        const shown = [];
        for (const line of lines) shown.push(await printer.print(line));
        if (lines.length === 0) output.note(nothingFound(options));
        output.result({ lines: shown });
        return;
      }
      const maps = new SourceMaps(client);
      await followLogs(client, query, maps, output, environment.signal);
    },
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
    .option('-n, --limit <count>', 'how many past lines to show, 1 to 1000', count(1, 1000), 100);
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
  const printer = new LogPrinter(output, maps);
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
      output.event({ event: 'log', ...(await printer.print(line)) });
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
      output.note(`log stream: ${error instanceof Error ? error.message : String(error)}`);
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

/** Prints log lines, with stack traces mapped to the author's files. */
export class LogPrinter {
  readonly #output: Output;
  readonly #maps: SourceMaps;

  constructor(output: Output, maps: SourceMaps) {
    this.#output = output;
    this.#maps = maps;
  }

  /** Returns the line as it was shown, for `--json`. */
  async print(line: LogLine): Promise<Record<string, unknown>> {
    const { level } = line;
    const message = unfold(line.message);
    const map = /main\.js:\d+:\d+/.test(message)
      ? await this.#maps.get(line.extension ?? '', line.version ?? '')
      : undefined;
    const mapped = map === undefined ? undefined : authorError(message, map);
    const at = formatTime(line.at);
    const label = this.#output.paint(COLOURS[level] ?? '0', level.padEnd(5));
    const cut = line.truncated === true ? ' …' : '';
    const text = message.startsWith(HOST_CALL)
      ? describeCall(message, mapped)
      : (mapped?.stack ?? message);
    this.#output.print(`${at} ${label} ${indent(sanitize(text))}${cut}`);
    if (level === 'error' && mapped?.frame !== undefined && mapped.location !== undefined) {
      this.#output.print(`  at ${formatLocation(mapped.location)}`);
      this.#output.print(mapped.frame);
    }
    return { ...line, ...(mapped === undefined ? {} : { author_error: mapped }) };
  }
}

/** A host call as one line: what was called, and from where. */
function describeCall(message: string, mapped: AuthorError | undefined): string {
  const [call = ''] = message.split('\n');
  return mapped?.location === undefined ? call : `${call}  (${formatLocation(mapped.location)})`;
}

/** Continued lines stand apart, so that no message can look like a line of the log. */
function indent(text: string): string {
  return text.replace(/\n(?! {4})/g, '\n    ');
}

function formatTime(at: string | number): string {
  const time = new Date(at);
  return Number.isNaN(time.getTime()) ? String(at) : time.toISOString();
}

/** An extension's output must not command the reader's terminal. */
function sanitize(text: string): string {
  // eslint-disable-next-line no-control-regex -- control characters are what this removes
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '\ufffd');
}
