import { resolve } from 'node:path';

import { ExitCode, Failure } from './failure.js';
import type { Environment } from './environment.js';
import { readBounded } from './read-bounded.js';
import { reasonOf } from './system-failure.js';

export interface SecretSource {
  /** File that holds the value. */
  file?: string;
  /** The option that names the file. */
  option?: '--file' | '--token-file' | '--maps-token-file';
}

/** What the server accepts as a secret; read no further. */
const MAX_BYTES = 64 * 1024;

/**
 * A value that must not appear on the command line: from a file, from a pipe, or typed unseen. One
 * line break at the end is left out. Throws a Failure when it is empty or too long.
 */
export async function readSecretValue(
  environment: Environment,
  source: SecretSource,
  label: string,
): Promise<string> {
  const raw =
    source.file !== undefined
      ? await fromFile(environment, source.file)
      : environment.stdin.isTTY === true
        ? await typed(environment, label)
        : await piped(environment.stdin);
  const value = raw.replace(/\r?\n$/, '');
  if (value === '') {
    throw new Failure('secret.empty', `The ${label} is empty`, {
      hint: `type it, pipe it in, or name a file with ${source.option ?? '--file'}`,
      exitCode: ExitCode.Usage,
    });
  }
  if (Buffer.byteLength(value) > MAX_BYTES) throw tooLong(label);
  return value;
}

function tooLong(label: string): Failure {
  return new Failure('secret.too_long', `The ${label} is longer than 64 KiB`, {
    hint: 'a secret is a key or a password; keep larger values in storage',
    exitCode: ExitCode.Usage,
  });
}

async function fromFile(environment: Environment, file: string): Promise<string> {
  const path = resolve(environment.cwd, file);
  try {
    return (await readBounded(path, MAX_BYTES + 2, file)).toString('utf8');
  } catch (cause) {
    if (cause instanceof Failure) throw tooLong(`value in ${file}`);
    throw new Failure('secret.unreadable', `Cannot read ${file}: ${reasonOf(cause)}`, {
      hint: 'name a file that holds the value and nothing else',
      exitCode: ExitCode.Usage,
      cause,
    });
  }
}

async function piped(stdin: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stdin) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    size += bytes.length;
    if (size > MAX_BYTES + 2) throw tooLong('value');
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Reads a line from the terminal without showing it. */
function typed(environment: Environment, label: string): Promise<string> {
  const { stdin, stderr } = environment;
  stderr.write(`${label}: `);
  stdin.setRawMode?.(true);
  stdin.resume();
  return new Promise((resolve, reject) => {
    let value = '';
    const finish = (settle: () => void) => {
      stdin.off('data', receive);
      stdin.off('end', ended);
      stdin.setRawMode?.(false);
      stdin.pause();
      stderr.write('\n');
      settle();
    };
    const ended = () => finish(() => resolve(value));
    const receive = (chunk: Buffer | string) => {
      for (const character of chunk.toString()) {
        if (character === '\r' || character === '\n') {
          finish(() => resolve(value));
          return;
        }
        if (character === '\u0003') {
          const exitCode = ExitCode.Interrupted;
          finish(() => reject(new Failure('interrupted', 'Interrupted', { exitCode })));
          return;
        }
        if (character === '\u0004') {
          ended();
          return;
        }
        if (character === '\u007f' || character === '\b') value = value.slice(0, -1);
        else value += character;
      }
    };
    stdin.on('data', receive);
    stdin.once('end', ended);
  });
}
