import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

import type { Command } from 'commander';

import { LARGEST_BUNDLE } from '../bundle/archive.js';
import { contentHash } from '../bundle/pack.js';
import { addCommand, shownPath } from '../command.js';
import type { Environment } from '../environment.js';
import { Failure } from '../failure.js';
import {
  generateKey,
  parseSignature,
  readPrivateKey,
  readPublicKey,
  signatureProblem,
  signBundle,
} from '../signing/signing.js';
import { makeFolder } from '../make-folder.js';
import { readBounded } from '../read-bounded.js';
import { reasonOf } from '../system-failure.js';
import { writeFile } from '../write-file.js';

export const SIGNATURE_SUFFIX = '.SIGNATURE';

export function registerSigningCommands(program: Command, environment: Environment): void {
  addCommand<{ out: string }>(
    program,
    'keygen',
    'Make an Ed25519 key pair to sign bundles with',
    environment,
    async ({ options, output }) => {
      const file = resolve(environment.cwd, options.out);
      const publicFile = publicKeyFile(file);
      for (const path of [file, publicFile]) {
        if (!existsSync(path)) continue;
        throw new Failure('keygen.exists', `${shownPath(environment, path)} exists already`, {
          hint: 'a key that is lost cannot be made again: choose another --out',
        });
      }
      const key = generateKey();
      await makeFolder(dirname(file));
      await writeFile(file, key.privatePem, { mode: 0o600, flag: 'wx' });
      await writeFile(publicFile, `${JSON.stringify(key.public, null, 2)}\n`, { flag: 'wx' });
      const shown = shownPath(environment, file);
      const shownPublic = shownPath(environment, publicFile);
      output.print(`${shown}  private key, keep it secret`);
      output.print(
        `${shownPublic}  public key ${key.public.key_id}, to register for the publisher`,
      );
      output.result({ private_key_file: shown, public_key_file: shownPublic, ...key.public });
    },
  ).option('-o, --out <file>', 'file of the private key', 'alga-signing.key');

  addCommand<{ key?: string; out?: string }>(
    program,
    'sign <bundle>',
    'Sign a bundle with an Ed25519 key',
    environment,
    async ({ options, args: [bundle = ''], output }) => {
      const hash = contentHash(await readInput(environment, bundle, 'bundle'));
      const signature = signBundle(hash, await readSigningKey(environment, options.key));
      const file = resolve(environment.cwd, options.out ?? `${bundle}${SIGNATURE_SUFFIX}`);
      await writeFile(file, `${JSON.stringify(signature)}\n`);
      const shown = shownPath(environment, file);
      output.print(`${shown}  signature by key ${signature.key_id} over ${hash}`);
      output.result({ signature_file: shown, content_hash: hash, key_id: signature.key_id });
    },
  )
    .option(
      '-k, --key <file>',
      'private key (default: the environment variable ALGA_SIGNING_KEY_FILE)',
    )
    .option(
      '-o, --out <file>',
      `where to write the signature (default: <bundle>${SIGNATURE_SUFFIX})`,
    );

  addCommand<{ key: string; signature?: string }>(
    program,
    'verify <bundle>',
    'Check the signature of a bundle',
    environment,
    async ({ options, args: [bundle = ''], output }) => {
      const hash = contentHash(await readInput(environment, bundle, 'bundle'));
      const signatureFile = options.signature ?? `${bundle}${SIGNATURE_SUFFIX}`;
      const text = (await readInput(environment, signatureFile, 'signature')).toString('utf8');
      const signature = parseSignature(text, signatureFile);
      const keyText = (await readInput(environment, options.key, 'key')).toString('utf8');
      const key = readPublicKey(keyText, options.key);
      const problem = signatureProblem(hash, signature, key);
      if (problem !== undefined) {
        throw new Failure('verify.failed', `The signature does not hold: ${problem}`, {
          hint: 'get the bundle again from its source, or check that the key is the right one',
          details: { content_hash: hash, key_id: signature.key_id },
        });
      }
      output.print(`${bundle}: good signature by key ${signature.key_id} over ${hash}`);
      output.result({ content_hash: hash, key_id: signature.key_id });
    },
  )
    .requiredOption('-k, --key <file>', 'public key of the signer (the .pub.json file)')
    .option('-s, --signature <file>', `the signature (default: <bundle>${SIGNATURE_SUFFIX})`);
}

function publicKeyFile(privateFile: string): string {
  return `${privateFile.replace(/\.key$/, '')}.pub.json`;
}

/** The signing key from `--key` or ALGA_SIGNING_KEY_FILE; its file must be private to its owner. */
export async function readSigningKey(environment: Environment, option: string | undefined) {
  const file = option ?? environment.variables['ALGA_SIGNING_KEY_FILE'];
  if (file === undefined || file === '') {
    throw new Failure('sign.no_key', 'No signing key was given', {
      hint: 'make one with alga keygen and name it with --key or ALGA_SIGNING_KEY_FILE',
    });
  }
  const path = resolve(environment.cwd, file);
  const bytes = await readInput(environment, file, 'key');
  const key = readPrivateKey(bytes.toString('utf8'), file);
  const { mode } = await stat(path);
  if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
    throw new Failure('sign.key_readable', `Others may read the private key ${file}`, {
      hint: `run: chmod 600 ${file}`,
    });
  }
  return key;
}

const WHERE_FROM: Record<string, string> = {
  bundle: 'make it with: alga pack',
  signature: 'make it with: alga sign <bundle> --key <file>, or name it with --signature',
  key: 'make one with: alga keygen',
  module: 'name the .wasm file of a core module',
};

/** More than any of them has, in bytes. */
const LARGEST = {
  bundle: LARGEST_BUNDLE,
  module: LARGEST_BUNDLE,
  signature: 64 * 1024,
  key: 64 * 1024,
};

/** Reads a file that an argument names. @param what it is, for messages and their codes */
export async function readInput(
  environment: Environment,
  file: string,
  what: 'bundle' | 'signature' | 'key' | 'module',
): Promise<Buffer> {
  const path = resolve(environment.cwd, file);
  return readBounded(path, LARGEST[what], file).catch((cause: unknown) => {
    if (cause instanceof Failure) throw cause;
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw new Failure(
      `${what}.${missing ? 'not_found' : 'unreadable'}`,
      `Cannot read the ${what} ${file}: ${reasonOf(cause)}`,
      { hint: WHERE_FROM[what] ?? '', cause },
    );
  });
}
