import { describe, expect, test } from 'vitest';

import { BesideServer } from './beside-server.js';
import { MANIFEST } from './fixture.js';

const { name } = MANIFEST;

describe('a server that takes its time', () => {
  const beside = new BesideServer();
  const { alga } = beside;

  test.each([
    [['list']],
    [['login']],
    [['doctor']],
    [['logs']],
    [['enable', name]],
    [['disable', name]],
    [['grant', name]],
    [['update', name, '--version', '1.0.0']],
    [['config', 'get', name]],
    [['config', 'set', name, 'a=b']],
    [['config', 'unset', name, 'a']],
    [['secrets', 'list', name]],
    [['secrets', 'set', name, 'k']],
    [['secrets', 'unset', name, 'k']],
    [['invoke', name, '/a']],
    [['uninstall', name]],
    [['install', name]],
    [['publish', '--no-build'], 'Uploading'],
  ])('%j says that it waits, and that it waits no more', async (argv, what = 'Waiting for ') => {
    await beside.writeBuiltProject(MANIFEST);
    expect((await alga(['publish', '--no-build'])).code).toBe(0);
    if (argv[0] !== 'install') expect((await alga(['install', name])).code).toBe(0);
    let answer: () => void = () => undefined;
    const held = new Promise<void>((done) => (answer = done));
    beside.server.hold = () => held;
    // Nothing is answered before the command has said that it waits.
    const told = (text: string) => {
      if (text.startsWith(`… ${what}`)) answer();
    };
    const { err } = await alga(argv, { told, stdin: 'x' });
    expect(err).toMatch(new RegExp(`… ${what}[^]*[✔✘] ${what}`));
  });
});
