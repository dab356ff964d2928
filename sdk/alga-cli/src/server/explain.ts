import { setTimeout } from 'node:timers/promises';

import { authorError, type AuthorError } from '../author-error.js';
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
    message: 'the execution made more host calls than it may',
    change: 'read records in pages instead of one by one',
  },
};

interface Execution {
  request_id: string;
  end_class: string;
  method?: string;
  path?: string;
}

/** Why a request failed, in the words and places of its author. */
export interface Explanation {
  error: AuthorError;
  /** What to change, where the host ended the execution. */
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
      if (thrown !== undefined) return { error: thrown };
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
  return (await client.json<{ lines: LogLine[] }>(`/api/logs?${query.toString()}`)).lines;
}

async function findThrown(
  lines: readonly LogLine[],
  maps: SourceMaps,
): Promise<AuthorError | undefined> {
  for (const line of lines.filter(({ level }) => level === 'error').reverse()) {
    const map = await maps.get(line.extension ?? '', line.version ?? '');
    const found = map === undefined ? undefined : authorError(line.message, map);
    if (found !== undefined) return found;
    if (line.message.startsWith('Uncaught ')) {
      const [head = ''] = line.message.split('\n');
      return { message: head.slice('Uncaught '.length), stack: line.message };
    }
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
  const end = execution === undefined ? undefined : ENDS[execution.end_class];
  if (execution === undefined || end === undefined) return undefined;
  const call = lines.findLast(({ message }) => message.startsWith('host call '));
  const said = lines.findLast(({ message }) => !message.startsWith('host call '));
  const map = call && (await maps.get(call.extension ?? '', call.version ?? ''));
  const place = call && map && authorError(call.message, map);
  const facts = [
    `${end.message} [${execution.end_class}]`,
    `  route           ${execution.method ?? ''} ${execution.path ?? ''}`.trimEnd(),
    `  last log line   ${said?.message.split('\n')[0] ?? 'none'}`,
    `  last host call  ${call?.message.split('\n')[0]?.slice('host call '.length) ?? 'none'}`,
  ];
  return {
    error: {
      message: facts.join('\n'),
      stack: place?.stack ?? '',
      ...(place?.location === undefined ? {} : { location: place.location }),
      ...(place?.frame === undefined ? {} : { frame: place.frame }),
    },
    hint: end.change,
  };
}
