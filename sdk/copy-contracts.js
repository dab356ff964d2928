// Copies the contracts of the repository (WIT and schemas) into a package, before it is built or
// packed: node copy-contracts.js <package folder>
import { cpSync, mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const repository = join(dirname(fileURLToPath(import.meta.url)), '..');
const target = resolve(process.argv[2] ?? '.');

for (const path of [
  'wit/extension-runner.wit',
  'wit/compat/extension-runner.wit',
  'schema/manifest.schema.json',
  'schema/capabilities.json',
]) {
  mkdirSync(dirname(join(target, path)), { recursive: true });
  cpSync(join(repository, path), join(target, path));
}
