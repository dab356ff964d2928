import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { join } from 'node:path';

import { PACKAGE_ROOT } from './contracts.js';

/** What a program's output goes to. */
type Outputs = [stdout: 'pipe' | number, stderr: 'pipe' | number];

/**
 * Starts a program that ends when this process does, also when this process is killed: it gets
 * SIGTERM, and what is left of it and of its children SIGKILL. No shell; it reads no input. The
 * process that is returned stands for it: signals reach it, and it ends with the same status. A
 * program that cannot be started is status 127.
 *
 * @param grace seconds between the two signals
 */
export function supervise(
  program: string,
  args: readonly string[],
  [stdout, stderr]: Outputs,
  grace: number,
  options: Pick<SpawnOptions, 'cwd' | 'env'> = {},
): ChildProcess {
  const supervisor = join(PACKAGE_ROOT, 'bin', 'supervise.js');
  return spawn(process.execPath, [supervisor, String(grace), program, ...args], {
    ...options,
    stdio: ['ignore', stdout, stderr, 'pipe'],
    // A group of its own; and an interrupt of the terminal reaches this process alone.
    detached: true,
  });
}

/** Ends a supervised program and everything that it started, at once. */
export function killSupervised(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  if (process.platform === 'win32') child.kill('SIGKILL');
  else process.kill(-child.pid, 'SIGKILL');
}
