import { beforeEach, describe, expect, test } from 'vitest';

import type { Problem } from '../src/events.js';
import { BesideServer } from './beside-server.js';
import { MANIFEST } from './fixture.js';

describe('names that the installed version declares', () => {
  const beside = new BesideServer();
  const { alga } = beside;
  const SLUG = MANIFEST.name;

  async function install(settings: object): Promise<string> {
    await beside.writeBuiltProject({ ...MANIFEST, ...settings });
    expect((await alga(['publish', '--no-build'])).code).toBe(0);
    const { code, err } = await alga(['install', SLUG]);
    expect(code, err).toBe(0);
    return err;
  }

  describe('a manifest that declares some', () => {
    let said: string;
    beforeEach(async () => {
      said = await install({
        config: { api_url: { description: 'Address of the API', required: true }, region: {} },
        secrets: { alga_api_key: { required: true } },
      });
    });

    test('a misspelt secret is set, with a warning that names what was meant', async () => {
      const { code, err, out } = await alga(['secrets', 'set', SLUG, 'alga_api_kye'], {
        stdin: 's3cret',
      });
      expect(code).toBe(0);
      expect(err).toContain(
        `"alga_api_kye" is set, but ${SLUG} 1.0.0 does not declare it ` +
          '(secrets in its manifest: alga_api_key); did you mean "alga_api_key"?',
      );
      expect(out).toContain('Secrets of');
      expect([...beside.server.secrets.values()][0]?.get('alga_api_kye')).toBe('s3cret');
      const right = await alga(['secrets', 'set', SLUG, 'alga_api_key'], { stdin: 's3cret' });
      expect(right.err).toBe('');
    });

    test('so is a configuration key; with --json the warnings are a list', async () => {
      const { code, out, err } = await alga([
        ...['config', 'set', SLUG, 'api_ulr=x', 'region=eu', 'colour=red', 'a_token=t', '--json'],
      ]);
      expect([code, err]).toEqual([0, '']);
      const answer = JSON.parse(out) as {
        ok: boolean;
        warnings: Problem[];
        config: object;
      };
      expect(answer.ok).toBe(true);
      expect(answer.config).toMatchObject({ api_ulr: 'x', region: 'eu', colour: 'red' });
      expect(answer.warnings.map(({ code }) => code)).toEqual([
        'config.doubtful',
        ...Array<string>(3).fill('config.undeclared'),
      ]);
      expect(answer.warnings.map(({ message }) => message)).toEqual([
        'a_token looks like a secret: configuration can be read back',
        expect.stringMatching(
          /^"api_ulr" is set, but .*\(configuration keys .*api_url, region\); did you mean "api_url"\?$/,
        ),
        expect.stringMatching(/^"colour" is set, but [^?]*$/),
        expect.stringMatching(/^"a_token" is set, but [^?]*$/),
      ]);
      const right = await alga(['config', 'set', SLUG, 'region=eu', '--json']);
      expect(JSON.parse(right.out)).not.toHaveProperty('warnings');
    });

    test('with --json what is missing stands in the document of the install', async () => {
      const { out } = await alga(['update', SLUG, '--version', '1.0.0', '--json']);
      const missing = { config: ['api_url'], secrets: ['alga_api_key'] };
      expect(JSON.parse(out)).toMatchObject({ ok: true, missing });
    });

    test('what is required and not set is said after the install, and where settings are shown', async () => {
      expect(said).toContain('It needs values that are not set yet:');
      expect(said).toContain(`alga config set ${SLUG} api_url=…   (Address of the API)`);
      expect(said).toContain(`alga secrets set ${SLUG} alga_api_key`);
      expect(said).not.toContain('region');
      expect((await alga(['config', 'get', SLUG])).err).toContain('api_url=…');
      expect((await alga(['secrets', 'list', SLUG])).err).toContain('alga_api_key');
      await alga(['config', 'set', SLUG, 'api_url=http://127.0.0.1:9']);
      await alga(['secrets', 'set', SLUG, 'alga_api_key'], { stdin: 's3cret' });
      expect((await alga(['config', 'get', SLUG])).err).toBe('');
      expect((await alga(['secrets', 'list', SLUG])).err).toBe('');
    });
  });

  test('a manifest that declares none says nothing about names', async () => {
    expect(await install({})).toBe('');
    expect((await alga(['config', 'set', SLUG, 'anything=1'])).err).toBe('');
    const { err } = await alga(['secrets', 'set', SLUG, 'anything'], { stdin: 's3cret' });
    expect(err).toBe('');
  });
});
