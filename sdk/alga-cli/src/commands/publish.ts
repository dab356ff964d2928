import type { KeyObject } from 'node:crypto';
import { existsSync } from 'node:fs';
import { basename, resolve } from 'node:path';

import type { Command } from 'commander';

import { buildProject } from '../build/build.js';
import { buildUi } from '../build/ui.js';
import { readArchive } from '../bundle/archive.js';
import { BUNDLE_FILE, contentHash, packProject } from '../bundle/pack.js';
import type { Environment } from '../environment.js';
import { ExitCode, Failure } from '../failure.js';
import { formatBytes, type Output } from '../output.js';
import { hasHandler, openProject } from '../project/project.js';
import { parseSignature, signBundle, type BundleSignature } from '../signing/signing.js';
import type { ApiClient } from '../server/client.js';
import { upload } from '../server/publish.js';
import { reportFindings } from './build.js';
import { addServerCommand } from './server-command.js';
import { readInput, readSigningKey, SIGNATURE_SUFFIX } from './signing.js';

interface PublishOptions {
  key?: string;
  build: boolean;
}

export function registerPublish(program: Command, environment: Environment): void {
  addServerCommand<PublishOptions>(
    program,
    'publish [bundle]',
    'Publish a bundle; without one, build, pack and sign the project first',
    environment,
    async ({ options, args: [file], output, project, client }) => {
      // What would make it all in vain is said before a build that takes long.
      const key = await namedKey(environment, options.key);
      const archive =
        file === undefined
          ? await packForPublishing(project, options.build, output, client)
          : await output.during('Reading the bundle', () => readBundle(environment, file), {
              quick: true,
            });
      const signature =
        key === undefined
          ? await signatureBeside(environment, file)
          : signBundle(contentHash(archive), key);
      if (signature === undefined) {
        const hint = 'name a key with --key or ALGA_SIGNING_KEY_FILE';
        output.warn({ code: 'publish.unsigned', message: 'The bundle is not signed', hint });
      }
      const name = basename(file ?? BUNDLE_FILE);
      const published = await upload(client, archive, signature, name, output);
      for (const { code, message } of published.warnings ?? []) output.warn({ code, message });
      const { extension, version } = published;
      const slug = extension.slug ?? extension.name;
      output.print(`Published ${extension.publisher}/${extension.name} ${version.version}`);
      output.print(`  extension  ${extension.id}`);
      output.print(`  content    ${published.contentHash}`);
      output.print(`Next: alga install ${slug} --grant-declared --egress-declared`);
      output.result({
        extension,
        version,
        content_hash: published.contentHash,
        signed: signature !== undefined,
        server_warnings: published.warnings ?? [],
      });
    },
    { project: true },
  )
    .option('-k, --key <file>', 'private key to sign with (default: ALGA_SIGNING_KEY_FILE)')
    .option('--no-build', 'take dist/ as it is');
}

async function packForPublishing(
  directory: string,
  build: boolean,
  output: Output,
  client: ApiClient,
): Promise<Uint8Array> {
  const project = await openProject(directory);
  if (build) await assertAnswered(client);
  if (build) await buildUi(project, output);
  if (build && hasHandler(project.manifest)) {
    await buildProject(project, output);
  }
  const packed = await output.during('Packing', () => packProject(project), {
    note: ({ archive }) => formatBytes(archive.length),
  });
  reportFindings(packed.findings, output);
  return packed.archive;
}

async function readBundle(environment: Environment, file: string): Promise<Uint8Array> {
  const archive = await readInput(environment, file, 'bundle');
  const entries = await readArchive(archive, file);
  if (entries.some(({ name }) => name === 'manifest.json')) return archive;
  throw new Failure('bundle.no_manifest', `${file} holds no manifest.json`, {
    hint: 'make the bundle with: alga pack',
  });
}

/** Throws the Failure of a server that is not there, or knows nobody with this token. */
async function assertAnswered(client: ApiClient): Promise<void> {
  try {
    await client.json('/api/v1/whoami');
  } catch (error) {
    const { code, exitCode } = error as Failure;
    if (code === 'server.unreachable' || exitCode === ExitCode.Denied) throw error;
  }
}

/** The signing key, when one is named. */
async function namedKey(
  environment: Environment,
  option: string | undefined,
): Promise<KeyObject | undefined> {
  const none = option === undefined && !environment.variables['ALGA_SIGNING_KEY_FILE'];
  return none ? undefined : readSigningKey(environment, option);
}

/** The signature that lies beside a bundle. */
async function signatureBeside(
  environment: Environment,
  bundleFile: string | undefined,
): Promise<BundleSignature | undefined> {
  if (bundleFile === undefined) return undefined;
  const beside = `${bundleFile}${SIGNATURE_SUFFIX}`;
  if (!existsSync(resolve(environment.cwd, beside))) return undefined;
  const text = (await readInput(environment, beside, 'signature')).toString('utf8');
  return parseSignature(text, beside);
}
