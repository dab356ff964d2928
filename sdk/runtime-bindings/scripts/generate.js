// Generates everything that follows from wit/extension-runner.wit, so that nothing is written by
// hand twice:
//   types/                          guest-side declarations of every interface (by jco)
//   src/generated/capabilities.ts   interface -> capability, from the `@requires(cap:…)` notes
//   ../../schema/capabilities.json  the same map for the server and for other tools
// `--check` writes nothing and fails when a file on disk differs from what would be generated.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const packageDir = join(dirname(fileURLToPath(import.meta.url)), '..');
const repository = join(packageDir, '..', '..');
const witFile = join(repository, 'wit', 'extension-runner.wit');
const compatFile = join(repository, 'wit', 'compat', 'extension-runner.wit');
const check = process.argv.includes('--check');

/** @param {string} text @returns {{interface: string, capability: string}[]} */
function requirements(text) {
  const found = [];
  let capability;
  for (const line of text.split('\n')) {
    const note = /^\s*\/\/\/.*@requires\((cap:[a-z.]+)\)/.exec(line);
    if (note) capability = note[1];
    const declaration = /^interface ([a-z0-9-]+) \{/.exec(line);
    if (declaration) {
      if (capability) found.push({ interface: declaration[1], capability });
      capability = undefined;
    }
  }
  return found;
}

/** @param {string} directory @param {string} prefix @returns {[string, string][]} */
function filesUnder(directory, prefix = '') {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory()
      ? filesUnder(join(directory, entry.name), join(prefix, entry.name))
      : [[join(prefix, entry.name), readFileSync(join(directory, entry.name), 'utf8')]],
  );
}

function declarations() {
  const out = mkdtempSync(join(tmpdir(), 'alga-types-'));
  try {
    const api = fileURLToPath(import.meta.resolve('@bytecodealliance/jco'));
    const program = join(dirname(api), 'jco.js');
    const options = ['guest-types', witFile, '-n', 'runner', '-o', out, '-q'];
    execFileSync(process.execPath, [program, ...options], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    return filesUnder(out);
  } finally {
    rmSync(out, { recursive: true });
  }
}

const wit = readFileSync(witFile, 'utf8');
const compat = readFileSync(compatFile, 'utf8');
const current = requirements(wit);

const banner = '// Generated from wit/extension-runner.wit by `npm run generate`. Do not edit.\n';
const capabilitiesTs = `${banner}
/** The capability that guards each interface of the world. */
export const CAPABILITY_OF = {
${current.map((r) => `  ${/-/.test(r.interface) ? `'${r.interface}'` : r.interface}: '${r.capability}',`).join('\n')}
} as const;

export type InterfaceName = keyof typeof CAPABILITY_OF;
export type Capability = (typeof CAPABILITY_OF)[InterfaceName];

/** The version of the package \`alga:extension\` that these bindings speak. */
export const WIT_VERSION = '${/^package alga:extension@([0-9.]+);/m.exec(wit)?.[1]}';
`;

const capabilitiesJson = {
  $comment:
    'Generated from the @requires notes in wit/ by sdk/runtime-bindings/scripts/generate.js',
  packages: {
    'alga:extension@1.0.0': Object.fromEntries(current.map((r) => [r.interface, r.capability])),
    'alga:extension': Object.fromEntries(
      requirements(compat).map((r) => [r.interface, r.capability]),
    ),
  },
  default: ['cap:context.read', 'cap:log.emit', 'cap:user.read'],
};

/** @type {[string, string][]} */
const wanted = [
  ...declarations().map(([name, text]) => [join(packageDir, 'types', name), text]),
  [join(packageDir, 'src', 'generated', 'capabilities.ts'), capabilitiesTs],
  [
    join(repository, 'schema', 'capabilities.json'),
    `${JSON.stringify(capabilitiesJson, null, 2)}\n`,
  ],
];

const stale = [];
for (const [file, text] of wanted) {
  let onDisk;
  try {
    onDisk = readFileSync(file, 'utf8');
  } catch {
    onDisk = undefined;
  }
  if (onDisk === text) continue;
  stale.push(relative(repository, file));
  if (check) continue;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

if (check && stale.length > 0) {
  console.error(`Out of date: ${stale.join(', ')}\nRun: npm run generate -w runtime-bindings`);
  process.exit(1);
}
console.log(stale.length === 0 ? 'Generated files are up to date.' : `Wrote ${stale.join(', ')}`);
