import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { join } from 'node:path';

import { PACKAGE_ROOT } from './contracts.js';

/** What a program's streams are. */
interface Streams {
  /** Nothing to read unless it is this process's own. */
  stdin?: 'inherit';
  stdout: 'pipe' | 'inherit' | number;
  stderr: 'pipe' | 'inherit' | number;
}

interface Supervised extends Pick<SpawnOptions, 'cwd' | 'env'> {
  /** Removed when this process is gone without having ended the program. */
  folder?: string;
}

/**
 * Starts a program that ends when this process does, also when this process is killed: it gets
 * SIGTERM, and what is left of it and of its children SIGKILL. What it leaves running when it ends
 * by itself gets SIGKILL, too. No shell. The process that is returned stands for it: signals reach
 * it, and it ends with the same status. A program that cannot be started is status 127.
 *
 * @param grace seconds between the two signals
 */
export function supervise(
  program: string,
  args: readonly string[],
  { stdin, stdout, stderr }: Streams,
  grace: number,
  { folder = '', ...options }: Supervised = {},
): ChildProcess {
  const supervisor = join(PACKAGE_ROOT, 'bin', 'supervise.js');
  const child = spawn(process.execPath, [supervisor, String(grace), folder, program, ...args], {
    ...options,
    stdio: [stdin ?? 'ignore', stdout, stderr, 'pipe'],
    // A group of its own; and an interrupt of the terminal reaches this process alone.
    detached: true,
  });
  child.once('exit', () => killGroup(child));
  return child;
}

/** Ends a supervised program and everything that it started, at once. */
export function killSupervised(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  if (process.platform === 'win32') child.kill('SIGKILL');
  else killGroup(child);
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined || process.platform === 'win32') return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Nobody is left of it.
  }
}
