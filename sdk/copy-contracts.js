// Copies the contracts of the repository (WIT, schemas, the adapter for legacy modules) into a package, before it is built or
// packed: node copy-contracts.js <package folder>
import { cpSync, mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const repository = join(dirname(fileURLToPath(import.meta.url)), '..');
const target = resolve(process.argv[2] ?? '.');

const copies = {
  'wit/extension-runner.wit': 'wit/extension-runner.wit',
  'wit/compat/extension-runner.wit': 'wit/compat/extension-runner.wit',
  'schema/manifest.schema.json': 'schema/manifest.schema.json',
  'schema/capabilities.json': 'schema/capabilities.json',
  'bridge/src/legacy.wat': 'generated/legacy-adapter.wat',
};
for (const [from, to] of Object.entries(copies)) {
  mkdirSync(dirname(join(target, to)), { recursive: true });
  cpSync(join(repository, from), join(target, to));
}
