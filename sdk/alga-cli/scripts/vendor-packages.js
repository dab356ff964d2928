// Packs the packages that projects depend on into vendor/, so that `alga new` needs no registry.
import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const packageDir = join(dirname(fileURLToPath(import.meta.url)), '..');
const vendor = join(packageDir, 'vendor');
mkdirSync(vendor, { recursive: true });

// npm passes its own program to scripts; run it with this Node instead of looking in PATH.
const npm = process.env.npm_execpath;
if (npm === undefined) throw new Error('run this through npm: npm run build');
const options = ['pack', '--json', '--silent', '--pack-destination', vendor];
for (const [folder, name] of [
  ['runtime-bindings', 'alga-extension-runtime.tgz'],
  ['iframe-sdk', 'alga-extension-iframe-sdk.tgz'],
]) {
  const source = join(packageDir, '..', folder);
  const answer = execFileSync(process.execPath, [npm, ...options, source], { encoding: 'utf8' });
  const [{ filename }] = JSON.parse(answer);
  renameSync(join(vendor, filename), join(vendor, name));
}
