import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { formatBytes } from '../output.js';

/** What one execution used, as the control plane records it. */
export type Metrics = Record<string, unknown>;

/** Defaults of the server's limits by name, as its configuration writes them (`5s`, `256MiB`). */
export type Limits = ReadonlyMap<string, string>;

const milliseconds = (microseconds: number) => `${(microseconds / 1000).toFixed(1)} ms`;

/** The metrics that a limit bounds, in the order in which they are shown. */
const BOUNDED: readonly [name: string, metric: string, limit: string, (n: number) => string][] = [
  ['wall', 'call_us', 'wall_time', milliseconds],
  ['cpu', 'cpu_us', 'cpu_time', milliseconds],
  ['memory', 'peak_memory_bytes', 'memory', formatBytes],
  ['host calls', 'host_calls', 'host_calls', String],
  ['through host calls', 'host_bytes', 'host_bytes', formatBytes],
  ['response', 'response_bytes', 'response_body', formatBytes],
];

/** What of one limit an execution used, in words. */
export interface Usage {
  name: string;
  used: string;
  limit?: string;
}

/** What an execution used of its limits; metrics that were not measured are left out. */
export function usageOf(metrics: Metrics, limits: Limits): Usage[] {
  return BOUNDED.flatMap(([name, metric, limitName, format]) => {
    const value = metrics[metric];
    if (typeof value !== 'number' || value === 0) return [];
    const limit = limits.get(limitName);
    return [{ name, used: format(value), ...(limit === undefined ? {} : { limit }) }];
  });
}

/** `cpu 1.7 ms of 5s, memory 9.06 MiB of 256MiB` */
export function formatUsage(usage: readonly Usage[]): string {
  return usage
    .map(({ name, used, limit }) => `${name} ${used}${limit === undefined ? '' : ` of ${limit}`}`)
    .join(', ');
}

/** The defaults of a server program, from its own mouth; empty when it does not say. */
export async function readLimits(algad: string): Promise<Limits> {
  try {
    const { stdout } = await promisify(execFile)(algad, ['print-config'], { timeout: 10_000 });
    const [, section = ''] = /^\[limits\]\n([^[]*)/m.exec(stdout) ?? [];
    const lines = section.matchAll(/^(\w+) = "?([^"\n]+)"?$/gm);
    return new Map([...lines].map(([, name = '', value = '']) => [name, value]));
  } catch {
    return new Map();
  }
}
