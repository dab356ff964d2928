import { setTimeout } from 'node:timers/promises';

import { authorError, unfold, type AuthorError } from '../author-error.js';
import type { ApiClient } from './client.js';
import type { SourceMaps } from './source-maps.js';
import type { LogLine } from './types.js';

/** Log lines travel in batches: the one in question may arrive a moment after the answer. */
const ATTEMPTS = 10;
const PAUSE_MS = 200;

/** How the host ended an execution, as far as the author can do something about it. */
const ENDS: Record<string, { message: string; change: string }> = {
  wall_limit: {
    message: 'the execution took longer than its wall time',
    change:
      'do less in one request, or bound the outgoing calls; context.remainingTimeMs() says what is left',
  },
  cpu_limit: {
    message: 'the execution computed longer than its CPU time',
    change: 'look for a loop that does not end, or work in smaller pieces',
  },
  memory_limit: {
    message: 'the execution needed more memory than it may have',
    change: 'read large answers in pages, and keep no second copy of a body',
  },
  stack_overflow: {
    message: 'the stack ran over',
    change: 'look for a function that calls itself without end',
  },
  hostcall_limit: {
    message: 'the execution made more host calls, or moved more through them, than it may',
    change: 'read records in pages instead of one by one, log less, and answer with less',
  },
  table_limit: {
    message: 'the component needs more table elements than the server allows',
    change: 'build it from fewer parts, or ask the operator for a higher limit',
  },
  trap: {
    message: 'the component trapped',
    change: 'look at the trace: an access outside of memory, an abort, or a failed assertion',
  },
  guest_error: {
    message: 'the component gave up',
    change: 'look at the trace and at the log lines of this request',
  },
  egress_denied: {
    message: 'the handler gave up because an address is not allowed',
    change:
      "catch the error, or have the tenant's administrator allow the address in the egress rules",
  },
  link_error: {
    message: 'the component does not fit the interfaces of the server',
    change: 'build it again with this version of the tools: alga build',
  },
};

/** StarlingMonkey's words when nothing is left to do and the handler has not answered. */
const WAITS_FOR_EVER = 'event loop error, but no exception is pending';
const NEVER_SETTLED = {
  message: 'the handler waits for a promise that nothing will ever settle',
  change: 'look for a promise whose resolve is never called; every path must call it',
};

interface Execution {
  request_id: string;
  end_class: string;
  /** The host's own words, and the trace of the component where there is one. */
  author_error?: string;
  method?: string;
  path?: string;
}

/** Why a request failed, in the words and places of its author. */
export interface Explanation {
  error: AuthorError;
  /** Whether the host ended the execution, rather than the handler throwing something. */
  ended: boolean;
  /** What to change, where that is known. */
  hint?: string;
}

/**
 * Finds out why a request failed, from the tenant's log and the record of the execution. Undefined
 * when neither says anything, or when the account may not read them.
 */
export async function explainRequest(
  client: ApiClient,
  maps: SourceMaps,
  requestId: string,
): Promise<Explanation | undefined> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    try {
      const lines = await readLines(client, requestId);
      const thrown = await findThrown(lines, maps);
      if (thrown !== undefined) return thrown;
      const ended = await findEnd(client, requestId, lines, maps);
      if (ended !== undefined) return ended;
    } catch {
      return undefined;
    }
    await setTimeout(PAUSE_MS);
  }
  return undefined;
}

async function readLines(client: ApiClient, requestId: string): Promise<LogLine[]> {
  const query = new URLSearchParams({ request: requestId, limit: '1000' });
  const { lines } = await client.json<{ lines: LogLine[] }>(`/api/logs?${query.toString()}`);
  return lines.map((line) => ({ ...line, message: unfold(line.message) }));
}

/** A rejection that nobody waited for: the answer went its way without it. */
const NOT_AWAITED = 'Not awaited: ';

/** Uncaught errors, and request bodies that were not what the handler read. */
function isThrown({ level, message }: LogLine): boolean {
  if (message.startsWith(NOT_AWAITED)) return false;
  return level === 'error' || message.startsWith('RequestBodyError: ');
}

async function findThrown(
  lines: readonly LogLine[],
  maps: SourceMaps,
): Promise<Explanation | undefined> {
  for (const { message, extension = '', version = '' } of lines.filter(isThrown).reverse()) {
    const map = await maps.get(extension, version);
    const error = map === undefined ? undefined : authorError(message, map);
    if (error !== undefined) return { error, ended: false };
    if (!message.startsWith('Uncaught ')) continue;
    const [head = ''] = message.slice('Uncaught '.length).split(/\n {4}at /);
    const unmapped = { error: { message: head, stack: message }, ended: false };
    return map === undefined ? { ...unmapped, hint: maps.hint } : unmapped;
  }
  return undefined;
}

async function findEnd(
  client: ApiClient,
  requestId: string,
  lines: readonly LogLine[],
  maps: SourceMaps,
): Promise<Explanation | undefined> {
  const { executions } = await client.json<{ executions: Execution[] }>(
    '/api/v1/executions?limit=100',
  );
  const execution = executions.find(({ request_id: id }) => id === requestId);
  const known = execution === undefined ? undefined : ENDS[execution.end_class];
  if (execution === undefined || known === undefined) return undefined;
  const waits = lines.some(({ message }) => message.includes(WAITS_FOR_EVER));
  const end = waits && execution.end_class === 'guest_error' ? NEVER_SETTLED : known;
  const call = lines.findLast(({ message }) => message.startsWith('host call '));
  const said = lines.findLast(({ message }) => !message.startsWith('host call '));
  const map = call && (await maps.get(call.extension ?? '', call.version ?? ''));
  const place = call && map && authorError(call.message, map);
  const [why = '', ...trace] = (execution.author_error ?? '').split('\n');
  const facts = [
    `${end.message}${why === '' ? '' : ` (${why})`} [${execution.end_class}]`,
    `  route           ${execution.method ?? ''} ${execution.path ?? ''}`.trimEnd(),
    `  last log line   ${said?.message.split('\n')[0] ?? 'none'}`,
    `  last host call  ${call?.message.split('\n')[0]?.slice('host call '.length) ?? 'none'}`,
  ];
  return {
    error: {
      message: facts.join('\n'),
      stack: place?.stack ?? trace.join('\n'),
      ...(place?.location === undefined ? {} : { location: place.location }),
      ...(place?.frame === undefined ? {} : { frame: place.frame }),
    },
    ended: true,
    hint: end.change,
  };
}
