import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { createProgram, main } from '../src/main.js';
import { leaves } from '../src/reference-docs.js';
import { temporaryFolder, testEnvironment } from './fixture.js';

/** Nobody listens on the port of `tcpmux`. */
const NOBODY = 'http://127.0.0.1:1';
/** Failures that the reference of the command documents. */
const FAILURES = [1, 2, 3, 4];

const commands = leaves(createProgram(testEnvironment('/')));
const names = commands.map(({ name }) => name);

describe('every command', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;

  beforeEach(async () => {
    folder = await temporaryFolder();
  });

  afterEach(() => folder.remove());

  async function alga(...argv: string[]) {
    const variables = { PATH: '', ALGA_URL: NOBODY, ALGA_TOKEN: 't', ALGA_TENANT_ID: 't' };
    const environment = testEnvironment(folder.path, variables);
    const code = await main(argv, environment);
    return { code, out: environment.out, err: environment.err };
  }

  /** The words after `alga`, and something for each argument that is asked for. */
  function line(name: string): string[] {
    const { command } = commands.find((known) => known.name === name)!;
    const given = command.registeredArguments
      .filter(({ required }) => required)
      .map((argument) => (argument.variadic && name === 'alga config set' ? 'a=b' : 'x'));
    return [...name.split(' ').slice(1), ...given];
  }

  const document = (out: string) => {
    expect(out).toMatch(/^[^\n]+\n$/);
    return JSON.parse(out) as { ok: boolean; error?: Record<string, unknown> };
  };

  test.each(names)('%s --json: one document, and an exit status that fits it', async (name) => {
    const { code, out, err } = await alga(...line(name), '--json');
    const { ok, error } = document(out);
    expect([err, ok]).toEqual(['', code === 0]);
    if (ok) return;
    expect(FAILURES).toContain(code);
    expect(error?.['code']).not.toBe('internal');
    for (const member of ['code', 'message', 'hint']) {
      expect(error?.[member], member).toEqual(expect.any(String));
    }
  });

  test.each(names)('%s --json: a mistake of the command line is a document, too', async (name) => {
    const { code, out, err } = await alga(...line(name), '--json', '--no-such-option');
    expect([code, err]).toEqual([2, '']);
    expect(document(out)).toMatchObject({ ok: false, error: { code: 'usage' } });
  });

  test.each(names)('%s: an argument too few is answered with how it is used', async (name) => {
    const argv = line(name);
    if (argv.length === name.split(' ').length - 1) return;
    const { code, out, err } = await alga(...argv.slice(0, -1));
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(`usage: ${name} `);
  });

  test.each(names)('%s --help says what it is for, and each of its options', async (name) => {
    const { command, description } = commands.find((known) => known.name === name)!;
    const { code, out, err } = await alga(...name.split(' ').slice(1), '--help');
    expect([code, err]).toEqual([0, '']);
    expect(out).toContain(`Usage: ${name} `);
    expect(out.replace(/\s+/g, ' ')).toContain(description.replace(/\s+/g, ' '));
    for (const { flags, long, description: meaning } of command.options) {
      expect(out).toContain(flags);
      expect(meaning, long).toMatch(/\w{3}/);
    }
  });

  test.each(['', 'config', 'secrets', 'migrate'])(
    'alga %s --help lists what is below',
    async (at) => {
      const { code, out } = await alga(...[at, '--help'].filter(Boolean));
      expect(code).toBe(0);
      const below = names
        .filter((name) => name.startsWith(`alga ${at}`))
        .map((name) => name.slice('alga '.length + (at === '' ? 0 : at.length + 1)).split(' ')[0]);
      for (const name of below) expect(out).toMatch(new RegExp(`^ {2}${name ?? ''}\\b`, 'm'));
    },
  );
});
