import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, resolve } from 'node:path';

import type { Command } from 'commander';

import { buildProject } from '../build/build.js';
import { buildUi } from '../build/ui.js';
import { readArchive } from '../bundle/archive.js';
import { BUNDLE_FILE, contentHash, packProject } from '../bundle/pack.js';
import type { Environment } from '../environment.js';
import { Failure } from '../failure.js';
import { formatBytes, type Output } from '../output.js';
import { hasHandler, openProject } from '../project/project.js';
import { parseSignature, signBundle, type BundleSignature } from '../signing/signing.js';
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
      const archive =
        file === undefined
          ? await packForPublishing(project, options.build, output)
          : await output.during('Reading the bundle', () => readBundle(environment, file), {
              quick: true,
            });
      const signature = await findSignature(environment, options.key, file, archive);
      if (signature === undefined) {
        output.note('The bundle is not signed; name a key with --key or ALGA_SIGNING_KEY_FILE');
      }
      const name = basename(file ?? BUNDLE_FILE);
      const published = await upload(client, archive, signature, name, output);
      for (const { code, message } of published.warnings ?? []) output.warn(`${message} [${code}]`);
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
  )
    .option('-k, --key <file>', 'private key to sign with (default: ALGA_SIGNING_KEY_FILE)')
    .option('--no-build', 'take dist/ as it is');
}

async function packForPublishing(
  directory: string,
  build: boolean,
  output: Output,
): Promise<Uint8Array> {
  const project = await openProject(directory);
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

/** A signature made now, or the one that lies beside the bundle. */
async function findSignature(
  environment: Environment,
  keyFile: string | undefined,
  bundleFile: string | undefined,
  archive: Uint8Array,
): Promise<BundleSignature | undefined> {
  const named = keyFile ?? environment.variables['ALGA_SIGNING_KEY_FILE'];
  if (named !== undefined && named !== '') {
    return signBundle(contentHash(archive), await readSigningKey(environment, keyFile));
  }
  if (bundleFile === undefined) return undefined;
  const beside = resolve(environment.cwd, `${bundleFile}${SIGNATURE_SUFFIX}`);
  return existsSync(beside) ? parseSignature(await readFile(beside, 'utf8')) : undefined;
}
