import { PassThrough } from 'node:stream';

import { beforeEach, describe, expect, test } from 'vitest';

import type { Environment } from './environment.js';
import { ExitCode, type Failure } from './failure.js';
import { readSecretValue, type SecretSource } from './secret-input.js';

/** A keyboard, and what the screen showed. */
class Terminal {
  readonly keys = Object.assign(new PassThrough(), {
    isTTY: true,
    setRawMode: (raw: boolean) => (this.raw = raw),
  });
  raw = false;
  screen = '';

  read(source: SecretSource = {}): Promise<string> {
    const write = (text: string) => (this.screen += text);
    const environment: Environment = {
      cwd: '.',
      variables: {},
      stdin: this.keys,
      stdout: { write },
      stderr: { write },
      signal: new AbortController().signal,
    };
    return readSecretValue(environment, source, 'value of key');
  }
}

describe('a secret that is typed', () => {
  let terminal: Terminal;

  beforeEach(() => {
    terminal = new Terminal();
  });

  test('is asked for by its name and never shown', async () => {
    const value = terminal.read();
    expect(terminal.raw).toBe(true);
    terminal.keys.write('s3c');
    terminal.keys.write('x\u007fret\r');
    expect(await value).toBe('s3cret');
    expect([terminal.screen, terminal.raw]).toEqual(['value of key: \n', false]);
  });

  test('is given up with an interrupt, as any command', async () => {
    const value = terminal.read();
    terminal.keys.write('s3c\u0003');
    await expect(value).rejects.toMatchObject({
      code: 'interrupted',
      exitCode: ExitCode.Interrupted,
    });
    expect(terminal.raw).toBe(false);
  });

  test.each([
    ['Ctrl-D', (keys: PassThrough) => keys.write('\u0004')],
    ['the end of the terminal', (keys: PassThrough) => keys.end()],
  ])('ends with %s; without a character it is empty', async (_, end) => {
    const value = terminal.read({ option: '--token-file' });
    end(terminal.keys);
    const failure = await value.catch((error: unknown) => error as Failure);
    expect(failure).toMatchObject({ code: 'secret.empty' });
    expect((failure as Failure).hint).toContain('--token-file');
    expect(terminal.raw).toBe(false);
  });
});
