import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { unreachableReason } from '../src/server/reason.js';
import { generateKey, signBundle } from '../src/signing/signing.js';
import { systemFailure } from '../src/system-failure.js';
import { BesideServer } from './beside-server.js';
import { MANIFEST } from './fixture.js';

/** Exit status, code, and words that the message and the advice hold. */
type Wanted = [status: number, code: string, message: string, hint: string];

describe('wrong input to every command says what, where and what to do', () => {
  const beside = new BesideServer();
  const { alga } = beside;

  /** As people and as scripts read it: the same code, and nothing of the command's own insides. */
  async function fails(argv: string[], [status, code, message, hint]: Wanted): Promise<void> {
    const shown = await alga(argv);
    expect([shown.code, shown.err]).toEqual([status, expect.stringContaining(`[${code}]`)]);
    expect(shown.err).not.toMatch(/\n\s+at .*\.(js|ts):\d+/);
    const { code: again, out, err } = await alga([...argv, '--json']);
    const lines = out.trim().split('\n');
    expect([again, lines.length, err]).toEqual([status, 1, '']);
    const answer = JSON.parse(lines[0] ?? '') as { ok: boolean; error: Record<string, string> };
    expect(answer).toMatchObject({ ok: false, error: { code } });
    expect(answer.error['message']).toContain(message);
    expect(answer.error['hint']).toContain(hint);
  }

  const NOWHERE = 'nö where/file';
  const cases: [string[], Wanted][] = [
    [
      ['new', 'Big Name'],
      [2, 'new.bad_name', '"Big Name"', 'alga new my-extension'],
    ],
    [
      ['new', 'x', '--template', 'no'],
      [2, 'new.unknown_template', '"no"', 'handler-ui'],
    ],
    [
      ['new', 'x', '--dir', 'file'],
      [1, 'system.no_folder', 'file', 'check the path'],
    ],
    [
      ['new', 'n'.repeat(300)],
      [2, 'new.bad_name', 'nnn', 'at most 100'],
    ],
    [
      ['new', 'x', '--dir', 'n'.repeat(300)],
      [1, 'system.name_too_long', 'nnn', 'shorten'],
    ],
    [
      ['new', 'x', '--dir', 'dangling'],
      [1, 'system.exists', 'dangling', 'remove it'],
    ],
    [
      ['new', 'x', '--dir', 'loop/x'],
      [1, 'system.link_loop', 'loop', 'ls -l'],
    ],
    [
      ['new', 'x', '--dir', 'full'],
      [1, 'new.exists', 'full exists and is not empty', '--dir'],
    ],
    [
      ['new', 'x', '--dir', ''],
      [1, 'new.exists', '. exists and is not empty', '--dir'],
    ],
    [
      ['new', 'x', '--publisher', 'two\nlines'],
      [2, 'new.bad_publisher', '"two\\nlines"', '--publisher example'],
    ],
    [
      ['sign', NOWHERE],
      [1, 'bundle.not_found', `${NOWHERE}: it does not exist`, 'alga pack'],
    ],
    [
      ['sign', 'folder'],
      [1, 'bundle.unreadable', 'folder: it is a folder', 'alga pack'],
    ],
    [
      ['sign', 'file', '-k', NOWHERE],
      [1, 'key.not_found', NOWHERE, 'alga keygen'],
    ],
    [
      ['verify', 'file', '-k', 'k'],
      [1, 'signature.not_found', 'file.SIGNATURE', 'alga sign'],
    ],
    [
      ['publish', NOWHERE],
      [1, 'bundle.not_found', NOWHERE, 'alga pack'],
    ],
    [
      ['publish', 'junk'],
      [1, 'bundle.unreadable', 'junk is not a tar.zst', 'alga pack'],
    ],
    [
      ['migrate', 'check', NOWHERE],
      [1, 'migrate.not_found', NOWHERE, 'name a bundle'],
    ],
    [
      ['migrate', 'check', 'junk'],
      [1, 'bundle.unreadable', 'junk is not', 'alga pack'],
    ],
    [
      ['migrate', 'wrap', NOWHERE],
      [1, 'module.not_found', NOWHERE, '.wasm'],
    ],
    [
      ['migrate', 'wrap', 'junk'],
      [1, 'migrate.not_a_core_module', 'not a WebAssembly', '.wasm'],
    ],
    [
      ['invoke', 'x.y', '/', '-d', `@${NOWHERE}`],
      [2, 'invoke.data_not_found', NOWHERE, '@'],
    ],
    [
      ['invoke', 'x.y', '/', '-H', 'nonsense'],
      [2, 'usage.header', 'nonsense', '--header'],
    ],
    [
      ['invoke', 'x.y', '/', '-H', 'two words: x'],
      [2, 'usage.header', 'characters that no header has', '--header'],
    ],
    [
      ['invoke', 'x.y', '/', '-H', 'Host: elsewhere'],
      [2, 'usage.header', 'The header host belongs to the connection', 'leave it out'],
    ],
    [
      ['invoke', 'x.y', '/', '-X', 'BAD METHOD'],
      [2, 'usage.method', '"BAD METHOD"', 'GET, HEAD'],
    ],
    [
      ['invoke', 'x.y', '/', '-X', 'get', '-d', '{}'],
      [2, 'usage.method', 'GET has no body', '--data'],
    ],
    [
      ['secrets', 'set', 'x', 'two words'],
      [2, 'secrets.invalid_name', '"two words"', 'alga_api_key'],
    ],
    [
      ['secrets', 'set', 'x', 'k', '--file', NOWHERE],
      [3, 'install.not_found', '"x"', 'alga list'],
    ],
    [
      ['keygen', '--out', 'folder'],
      [1, 'keygen.exists', 'folder', 'another --out'],
    ],
    [
      ['keygen', '--out', 'file/key'],
      [1, 'system.exists', 'file', 'choose another'],
    ],
  ];
  test.each(cases)('%j', async (argv, wanted) => {
    await writeFile(join(beside.folder, 'file'), '');
    await writeFile(join(beside.folder, 'junk'), Buffer.alloc(900, 7));
    await mkdir(join(beside.folder, 'folder'));
    await mkdir(join(beside.folder, 'full', 'of'), { recursive: true });
    await symlink('nowhere', join(beside.folder, 'dangling'));
    await symlink('loop', join(beside.folder, 'loop'));
    await fails(argv, wanted);
  });

  test.runIf(process.platform === 'linux')('a folder where none can be made', async () => {
    const wanted: Wanted = [1, 'system.no_place', '/proc/x', 'can be written to'];
    await fails(['new', 'x', '--dir', '/proc/x/y'], wanted);
    await fails(['keygen', '--out', '/proc/x/y.key'], wanted);
  });

  test.runIf(process.platform === 'linux')('files that have no end, and none at all', async () => {
    const large: Wanted = [1, 'file.too_large', '/dev/zero is larger than', 'the right file'];
    await writeFile(join(beside.folder, 'file'), '');
    await fails(['verify', 'file', '-k', 'k', '--signature', '/dev/zero'], large);
    await fails(['sign', 'file', '-k', '/dev/zero'], large);
    await fails(['invoke', 'x.y', '/', '-d', '@/dev/zero'], large);
    const long: Wanted = [2, 'secret.too_long', 'value in /dev/zero', 'a key or a password'];
    await fails(['login', '--token-file', '/dev/zero'], long);
    const empty: Wanted = [1, 'bundle.unreadable', '/dev/null is empty', 'alga pack'];
    await fails(['publish', '/dev/null'], empty);
    await fails(['migrate', 'check', '/dev/null'], empty);
  });

  const KEY = generateKey();
  const [PRIVATE, PUBLIC] = [KEY.privatePem, JSON.stringify(KEY.public)];
  const GOOD = signBundle('sha256:0', createPrivateKey(PRIVATE));
  const RSA = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const ENCRYPTED = createPrivateKey(PRIVATE)
    .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
    .toString();

  test.each([
    ['nothing', ' \n', 'is empty', 'alga keygen'],
    ['words', 'secret words', 'does not hold a private key', 'alga keygen'],
    ['the public key', PUBLIC, 'holds a public key', 'name the private key'],
    ['half a key', PRIVATE.slice(0, 60), 'damaged', 'alga keygen'],
    ['an RSA key', RSA.export({ type: 'pkcs8', format: 'pem' }).toString(), 'type rsa', 'keygen'],
    ['an encrypted key', ENCRYPTED, 'passphrase', 'openssl pkey -in'],
  ])('%s as private key is named, and not shown', async (_, text, message, hint) => {
    await beside.writeBuiltProject(MANIFEST);
    await writeFile(join(beside.folder, 'file'), '');
    // What it holds matters more than who may read it.
    await writeFile(join(beside.folder, 'a.key'), text, { mode: 0o644 });
    for (const command of [
      ['sign', 'file'],
      ['publish', 'packed'],
      ['publish', '--no-build'],
    ]) {
      await alga(['pack', '--out', 'packed', '--force']);
      const argv = [...command, '--key', 'a.key'];
      await fails(argv, [1, 'sign.bad_key', message, hint]);
      const { err } = await alga(argv);
      expect(err).toContain(' a.key ');
      expect(err).not.toContain('secret words');
      expect(err).not.toContain(text.slice(30, 60) || 'PRIVATE KEY');
    }
  });

  test.each([
    ['nothing', '', 'is empty'],
    ['the private key', PRIVATE, 'holds a private key'],
    ['half a document', '{"public_key": ', 'is not valid JSON'],
    ['another document', '{"keys": []}', 'has no "public_key"'],
    ['a short key', '{"public_key": "AAAA"}', '44 characters'],
    ['words', 'a key', 'does not hold an Ed25519 public key'],
  ])('%s as public key is named', async (_, text, message) => {
    await writeFile(join(beside.folder, 'file'), '');
    await writeFile(join(beside.folder, 'file.SIGNATURE'), JSON.stringify(GOOD));
    await writeFile(join(beside.folder, 'a.pub.json'), text);
    const argv = ['verify', 'file', '-k', 'a.pub.json'];
    await fails(argv, [1, 'verify.bad_key', message, '.pub.json']);
    expect((await alga(argv)).err).toContain(' a.pub.json ');
  });

  test.each([
    ['nothing', '\n', 'is empty'],
    ['half a document', JSON.stringify(GOOD).slice(0, 50), 'is not a JSON object'],
    ['a list', '[]', 'is not a JSON object'],
    ['another document', '{}', 'has no "algorithm"'],
    ['another algorithm', JSON.stringify({ ...GOOD, algorithm: 'rsa' }), '"rsa"'],
    ['no key', JSON.stringify({ ...GOOD, key_id: 7 }), 'has no "key_id"'],
    ['half a signature', JSON.stringify({ ...GOOD, signature: 'AAAA' }), '88 characters'],
  ])('%s as signature is named, by verify and by publish', async (_, text, message) => {
    await beside.writeBuiltProject(MANIFEST);
    await alga(['pack', '--out', 'packed']);
    await writeFile(join(beside.folder, 'a.pub.json'), PUBLIC);
    await writeFile(join(beside.folder, 'packed.SIGNATURE'), text);
    for (const argv of [
      ['verify', 'packed', '-k', 'a.pub.json'],
      ['publish', 'packed'],
    ]) {
      await fails(argv, [1, 'verify.bad_signature_file', message, 'alga sign']);
      expect((await alga(argv)).err).toContain('The signature file packed.SIGNATURE ');
    }
  });

  test.each([
    [['logs', '--level', 'loud'], 'debug, info, warn, error'],
    [['logs', '--limit', 'many'], 'from 1 to 1000'],
    [['dev', '--port', 'http'], 'from 0 to 65535'],
    [['new'], "missing required argument 'name'"],
    [['frobnicate'], "unknown command 'frobnicate'"],
  ])('%j is a mistake of the command line', async (argv, what) => {
    const { code, err } = await alga(argv);
    expect([code, err]).toEqual([2, expect.stringContaining(what)]);
    const json = await alga([...argv, '--json']);
    expect([json.code, json.err]).toEqual([2, '']);
    const { error } = JSON.parse(json.out) as { error: { code: string; message: string } };
    expect([error.code, error.message]).toEqual(['usage', expect.stringContaining(what)]);
  });

  test.each([
    ['a list', '[]', 'must be an object'],
    ['nothing', ' \n', 'is empty'],
    ['a byte order mark', '\ufeff{}', 'byte order mark'],
    ['half a document', '{"name": ', 'is not valid JSON'],
    ['a number for a name', JSON.stringify({ ...MANIFEST, name: 3 }), 'must be a text'],
    ['a text for a list', JSON.stringify({ ...MANIFEST, egress: 'x' }), 'must be a list'],
    [
      'a text for true',
      JSON.stringify({ ...MANIFEST, config: { a: { required: 'x' } } }),
      'true or false',
    ],
  ])('%s as manifest', async (_, text, message) => {
    await writeFile(join(beside.folder, 'manifest.json'), text);
    for (const command of ['validate', 'build', 'pack', 'publish', 'test']) {
      const { code, err } = await alga([command]);
      expect([command, code, err]).toEqual([command, 1, expect.stringContaining(message)]);
      expect(err).toMatch(/manifest\.json:\d+:\d+/);
    }
  });

  test.each([
    ['a manifest that is nested too deeply', '['.repeat(200_000), 'is nested too deeply'],
    ['a manifest that is nested and closed', `{"a":${'['.repeat(20_000)}`, 'nested too deeply'],
    ['a manifest that is no text', '\u001b[2J\u0007{', 'is not valid JSON'],
  ])('%s, and nothing of it reaches the terminal raw', async (_, text, message) => {
    await writeFile(join(beside.folder, 'manifest.json'), text);
    const { code, err } = await alga(['validate']);
    expect([code, err]).toEqual([1, expect.stringContaining(message)]);
    for (const raw of ['\u001b', '\u0007']) expect(err).not.toContain(raw);
    expect(err.length).toBeLessThan(2000);
  });

  test('a component that is cut off, and a folder in its place', async () => {
    await beside.writeBuiltProject(MANIFEST);
    const component = join(beside.folder, 'dist', 'main.wasm');
    await writeFile(component, Buffer.from('0061736d0d0001000b', 'hex'));
    for (const command of ['validate', 'pack']) {
      await fails([command], [1, 'component.damaged', 'dist/main.wasm', 'alga build']);
    }
    await rm(component);
    await mkdir(component);
    for (const command of ['validate', 'pack']) {
      await fails([command], [1, 'system.is_folder', component, 'name a file']);
    }
  });

  test('package.json that npm cannot read either', async () => {
    await beside.writeBuiltProject(MANIFEST);
    await mkdir(join(beside.folder, 'src'));
    await writeFile(join(beside.folder, 'src', 'index.ts'), 'export default () => 1;');
    await writeFile(join(beside.folder, 'package.json'), '{\n  "name": "x"\n  "alga": {}\n}');
    await fails(['build'], [1, 'build.bad_package_json', 'package.json: it is not valid', 'npm']);
    expect((await alga(['build'])).err).toContain('package.json:3:3');
  });

  test('a manifest that cannot be read is not said to be missing', async () => {
    await mkdir(join(beside.folder, 'manifest.json'));
    await fails(['validate'], [1, 'manifest.unreadable', 'it is a folder', 'must be a file']);
    await fails(['pack'], [1, 'manifest.unreadable', 'it is a folder', 'must be a file']);
  });

  test('a token that no header can hold is refused, and never shown', async () => {
    const token = 'alga_boot_canary\nsecond line';
    for (const argv of [['list'], ['login'], ['doctor']]) {
      const { code, out, err } = await alga(argv, { variables: { ALGA_TOKEN: token } });
      expect([argv, code === 0]).toEqual([argv, false]);
      expect(out + err).toContain('white space');
      expect(out + err).not.toContain('canary');
    }
  });

  test('a stream of logs that is refused ends with the reason, and is not asked for again', async () => {
    const variables = { ALGA_TOKEN: 'wrong' };
    const { code, err } = await alga(['logs', '--follow'], { variables });
    expect([code, err]).toEqual([4, expect.stringContaining('[auth.bad_token]')]);
    const asked = beside.server.requests.filter(({ path }) => path === '/api/logs');
    expect(asked).toHaveLength(1);
  });

  test('a stream of logs of a server that is not there ends with the reason', async () => {
    await beside.server.stop();
    const { code, err } = await alga(['logs', '--follow']);
    expect([code, err]).toEqual([3, expect.stringContaining('[server.unreachable]')]);
    await beside.server.start();
  });

  test('to forget a token that nobody remembers', async () => {
    const { code, out } = await alga(['logout']);
    expect([code, out]).toEqual([0, `No token for ${beside.url} was remembered\n`]);
  });
});

describe('a server that cannot be reached', () => {
  const beside = new BesideServer();

  test('an address that no server has', async () => {
    const { code, err } = await beside.alga(['list', '--url', 'ftp://example.com']);
    expect([code, err]).toEqual([
      2,
      expect.stringContaining('"ftp://example.com" is no address of a server'),
    ]);
    expect(err).toContain('→ for example: --url https://');
  });

  test('a port that speaks no TLS', async () => {
    const url = beside.url.replace('http:', 'https:');
    const { code, err } = await beside.alga(['list', '--url', url]);
    expect([code, err]).toEqual([3, expect.stringContaining('does not speak TLS there')]);
  });

  test('a port on which nobody listens, and one that hangs up', async () => {
    const hangsUp = createServer((socket) => socket.destroy());
    await new Promise<void>((done) => hangsUp.listen(0, '127.0.0.1', done));
    const url = `http://127.0.0.1:${(hangsUp.address() as AddressInfo).port}`;
    const broken = await beside.alga(['list', '--url', url]);
    expect([broken.code, broken.err]).toEqual([3, expect.stringContaining('connection broke')]);
    await new Promise((done) => hangsUp.close(done));
    const down = await beside.alga(['list', '--url', url]);
    expect([down.code, down.err]).toEqual([3, expect.stringContaining('nothing listens there')]);
  });

  test.each([
    ['CERT_HAS_EXPIRED', 'has expired', 'renew'],
    ['SELF_SIGNED_CERT_IN_CHAIN', 'does not know', 'NODE_EXTRA_CA_CERTS'],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'does not know', 'NODE_EXTRA_CA_CERTS'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'another name', 'in the certificate'],
    ['ENOTFOUND', 'no machine of that name', 'DNS'],
  ])('%s', (code, text, hint) => {
    const error = new TypeError('fetch failed', { cause: Object.assign(new Error(), { code }) });
    const reason = unreachableReason(error, 60);
    expect(reason.text).toContain(text);
    expect(reason.text).toContain(code);
    expect(reason.hint).toContain(hint);
  });
});

test.each([
  ['ENOSPC', 'write', 'system.no_space', 'no space is left', 'free some space'],
  ['ENOSPC', 'watch', 'system.too_many_watchers', 'file watchers', 'max_user_watches'],
  ['EROFS', 'open', 'system.read_only', 'read-only', 'can be written to'],
  ['EACCES', 'mkdir', 'system.denied', 'make the folder /x/y: permission denied', 'right to it'],
])('the system says %s to %s', (code, syscall, name, message, hint) => {
  const failure = systemFailure(Object.assign(new Error(code), { code, syscall, path: '/x/y' }));
  expect(failure).toMatchObject({ code: name });
  expect(failure?.message).toContain(message);
  expect(failure?.message).toContain('/x/y');
  expect(failure?.hint).toContain(hint);
});

test('an error that is not of the system stays what it is', () => {
  expect(systemFailure(new TypeError('a bug'))).toBeUndefined();
});
