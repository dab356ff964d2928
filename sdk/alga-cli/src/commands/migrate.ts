import { existsSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join, resolve, sep } from 'node:path';

import type { Command } from 'commander';

import { LARGEST_BUNDLE, readArchive } from '../bundle/archive.js';
import { addCommand } from '../command.js';
import type { Environment } from '../environment.js';
import { Failure } from '../failure.js';
import { checkMigration } from '../migrate/check.js';
import { wrapLegacyModule } from '../migrate/wrap.js';
import { formatBytes } from '../output.js';
import { readBounded } from '../read-bounded.js';
import { reasonOf } from '../system-failure.js';
import { readInput } from './signing.js';
import { writeFile } from '../write-file.js';

/** Parts of a built project that end up in its bundle. */
const BUNDLED = ['manifest.json', 'dist', 'precompiled', 'ui'];

export function registerMigrate(program: Command, environment: Environment): void {
  const migrate = program
    .command('migrate')
    .description('Bring extensions of the reference system here');
  addCommand(
    migrate,
    'check <bundle-or-project>',
    'Report what a bundle or a built project would need to run here',
    environment,
    async ({ args: [path = ''], output }) => {
      const check = async () =>
        checkMigration(await readFiles(resolve(environment.cwd, path), path));
      const findings = await output.during(`Checking ${path}`, check, { quick: true });
      for (const { weight, code, message, action } of findings) {
        output.print(`${weight.padEnd(7)} ${message} [${code}]`);
        output.print(`        → ${action}`);
      }
      const blocking = findings.filter(({ weight }) => weight === 'blocks').length;
      if (blocking > 0) {
        throw new Failure('migrate.blocked', `${path} does not run here yet: ${blocking} to do`, {
          details: { findings },
        });
      }
      output.print(findings.length === 0 ? `${path}: nothing to do` : `${path} runs here`);
      output.result({ findings });
    },
  );
  registerWrap(migrate, environment);
}

interface WrapOptions {
  out?: string;
  force?: boolean;
}

function registerWrap(migrate: Command, environment: Environment): void {
  addCommand<WrapOptions>(
    migrate,
    'wrap <module>',
    'Make a component of a core module of the first ABI, without touching it',
    environment,
    async ({ options, args: [file = ''], output }) => {
      const target = options.out ?? file.replace(/(\.wasm)?$/, '.component.wasm');
      const path = resolve(environment.cwd, target);
      if (existsSync(path) && options.force !== true) {
        throw new Failure('migrate.exists', `${target} exists already`, {
          hint: 'give another --out, or --force to replace it',
        });
      }
      const module = await readInput(environment, file, 'module');
      const component = await output.during(`Wrapping ${file}`, () =>
        wrapLegacyModule(module, file),
      );
      await writeFile(path, component);
      output.print(`${target}  ${formatBytes(component.length)}`);
      output.result({ component: target, bytes: component.length });
    },
  )
    .option('-o, --out <file>', 'where to write the component (default: <module>.component.wasm)')
    .option('-f, --force', 'replace the file');
}

/** How every WebAssembly file begins. */
const WASM = Buffer.from([0x00, 0x61, 0x73, 0x6d]);

async function readFiles(path: string, shown: string): Promise<Map<string, Uint8Array>> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new Failure('migrate.not_found', `Cannot read ${shown}: ${reasonOf(cause)}`, {
      hint: 'name a bundle, or the folder of a built project',
      cause,
    });
  });
  if (!found.isDirectory()) {
    const bytes = await readBounded(path, LARGEST_BUNDLE, shown);
    if (bytes.subarray(0, 4).equals(WASM)) {
      throw new Failure('migrate.no_bundle', `${shown} is a module, not a bundle`, {
        hint: 'name a bundle or a project; a core module becomes a component with: alga migrate wrap',
      });
    }
    const entries = await readArchive(bytes, shown);
    return new Map(entries.map(({ name, content }) => [name, content]));
  }
  const files = new Map<string, Uint8Array>();
  for (const name of BUNDLED) {
    const file = join(path, name);
    const entry = await stat(file).catch(() => undefined);
    if (entry?.isFile() === true) files.set(name, await readFile(file));
    if (entry?.isDirectory() !== true) continue;
    for (const inside of await readdir(file, { recursive: true, withFileTypes: true })) {
      if (!inside.isFile()) continue;
      const full = join(inside.parentPath, inside.name);
      files.set(
        full
          .slice(path.length + 1)
          .split(sep)
          .join('/'),
        await readFile(full),
      );
    }
  }
  return files;
}
