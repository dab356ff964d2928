import type { Output, Streams } from './output.js';

/** Everything outside that commands use; tests replace it. */
export interface Environment extends Streams {
  /** Working directory that relative paths are resolved against. */
  cwd: string;
  variables: Readonly<Record<string, string | undefined>>;
  stdin: NodeJS.ReadableStream & { isTTY?: boolean; setRawMode?: (raw: boolean) => unknown };
  /** Aborted when the user interrupts the command. Who reads it heeds it, and ends soon after. */
  signal: AbortSignal;
  /** Hears of the output of the command that runs, which its error belongs to. */
  onOutput?: (output: Output) => void;
}

export function processEnvironment(): Environment {
  const interrupted = new AbortController();
  let heeded = false;
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    // The first one ends a command that heeds interrupts in good order; every other way is at once.
    process.once(name, () => {
      if (heeded) interrupted.abort();
      else process.kill(process.pid, name);
    });
  }
  return {
    cwd: process.cwd(),
    variables: process.env,
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    get signal() {
      heeded = true;
      return interrupted.signal;
    },
  };
}
