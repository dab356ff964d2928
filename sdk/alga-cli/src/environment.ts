import type { Streams } from './output.js';

/** Everything outside that commands use; tests replace it. */
export interface Environment extends Streams {
  /** Working directory that relative paths are resolved against. */
  cwd: string;
  variables: Readonly<Record<string, string | undefined>>;
  stdin: NodeJS.ReadableStream & { isTTY?: boolean; setRawMode?: (raw: boolean) => unknown };
  /** Aborted when the user interrupts the command. */
  signal: AbortSignal;
}

export function processEnvironment(): Environment {
  const interrupted = new AbortController();
  // The first interrupt ends long-running commands in good order, the second one at once.
  process.once('SIGINT', () => interrupted.abort());
  process.once('SIGTERM', () => interrupted.abort());
  return {
    cwd: process.cwd(),
    variables: process.env,
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    signal: interrupted.signal,
  };
}
