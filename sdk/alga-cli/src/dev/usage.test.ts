import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { formatUsage, readLimits, usageOf } from './usage.js';

const LIMITS = new Map([
  ['cpu_time', '5s'],
  ['memory', '256MiB'],
]);

test('says what was used, and of what where a limit is known', () => {
  const metrics = { cpu_us: 1665, peak_memory_bytes: 9_502_720, host_calls: 3, queue_us: 9 };
  expect(formatUsage(usageOf(metrics, LIMITS))).toBe(
    'cpu 1.7 ms of 5s, memory 9.06 MiB of 256MiB, host calls 3',
  );
});

test('leaves out what was not measured', () => {
  expect(usageOf({ cpu_us: 0, host_calls: 'many' }, LIMITS)).toEqual([]);
});

test('reads the limits that the server program prints, and only those', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'alga-test-'));
  const program = join(folder, 'algad');
  const config =
    '[server]\\nwall_time = "1s"\\n\\n[limits]\\ncpu_time = "5s"\\nhost_calls = 10000\\n';
  await writeFile(program, `#!/bin/sh\nprintf '${config}'\n`);
  await chmod(program, 0o755);
  expect([...(await readLimits(program))]).toEqual([
    ['cpu_time', '5s'],
    ['host_calls', '10000'],
  ]);
  expect((await readLimits(join(folder, 'nothing'))).size).toBe(0);
  await rm(folder, { recursive: true });
});
