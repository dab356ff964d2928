import { existsSync } from 'node:fs';
import { cp, readdir, readFile, rename } from 'node:fs/promises';
import { basename, join, relative, resolve } from 'node:path';

import type { Command } from 'commander';

import { addCommand, shownPath } from '../command.js';
import { PACKAGE_ROOT } from '../contracts.js';
import type { Environment } from '../environment.js';
import { ExitCode, Failure } from '../failure.js';
import { makeFolder } from '../make-folder.js';
import { writeFile } from '../write-file.js';

interface NewOptions {
  template: string;
  dir?: string;
  publisher?: string;
}

/** Templates by name, with what `--help` says about them. */
export const TEMPLATES: Record<string, string> = {
  handler: 'a TypeScript handler that reads configuration and a secret and calls an API',
  'handler-ui': 'a TypeScript handler with a page that calls it',
  rust: 'a handler in Rust',
  python: 'a handler in Python',
  cpp: 'a handler in C++',
};

/** The packages that projects depend on by path, carried inside this one. */
const CARRIED = ['alga-extension-runtime.tgz', 'alga-extension-iframe-sdk.tgz'];

export function registerNew(program: Command, environment: Environment): void {
  const names = Object.keys(TEMPLATES).join(', ');
  addCommand<NewOptions>(
    program,
    'new <name>',
    'Make a new extension project from a template',
    environment,
    async ({ options, args: [name = ''], output }) => {
      if (!/^[a-z0-9][a-z0-9._-]{0,99}$/.test(name)) {
        throw new Failure('new.bad_name', `"${name}" is not an acceptable name`, {
          hint: 'use at most 100 lower-case letters, digits, ".", "_" and "-", for example: alga new my-extension',
          exitCode: ExitCode.Usage,
        });
      }
      if (!Object.hasOwn(TEMPLATES, options.template)) {
        throw new Failure('new.unknown_template', `There is no template "${options.template}"`, {
          hint: `templates: ${names}`,
          exitCode: ExitCode.Usage,
        });
      }
      const publisher = options.publisher ?? 'example';
      if (!isPublisher(publisher)) {
        throw new Failure(
          'new.bad_publisher',
          `${JSON.stringify(publisher)} is not an acceptable publisher`,
          {
            hint: 'use up to 200 characters on one line, for example: --publisher example',
            exitCode: ExitCode.Usage,
          },
        );
      }
      const target = resolve(environment.cwd, options.dir ?? name);
      const shown = shownPath(environment, target);
      if (existsSync(target) && (await readdir(target)).length > 0) {
        throw new Failure('new.exists', `${shown} exists and is not empty`, {
          hint: 'choose another name, or another folder with --dir',
        });
      }
      const make = () => scaffold(target, options.template, { name, publisher });
      const files = await output.during(`Making ${shown}`, make, { quick: true });
      output.print(`Made ${shown} from the template ${options.template}:`);
      for (const file of files) output.print(`  ${file}`);
      output.print('');
      output.print('Next:');
      output.print(`  cd ${forShell(shown)}`);
      const usesNpm = files.includes('package.json');
      if (usesNpm) output.print('  npm install');
      output.print('  alga dev        # build, run and rebuild on every change');
      if (usesNpm) output.print('  alga test       # run the tests');
      else output.print('  alga doctor     # are the tools of the language installed?');
      output.result({ directory: shown, template: options.template, files });
    },
  )
    .option('-t, --template <name>', `one of: ${names}`, 'handler')
    .option('-d, --dir <folder>', 'where to make it (default: a folder of that name)')
    .option('--publisher <name>', 'publisher to put into the manifest', 'example');
}

/** A word of a command line, as shells read it. */
function forShell(word: string): string {
  return /^[\w./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** What manifests take as a publisher, on one line. */
function isPublisher(name: string): boolean {
  return name.trim() !== '' && name.length <= 200 && !/\p{Cc}/u.test(name);
}

interface Values {
  name: string;
  publisher: string;
}

/** Copies a template and fills in its placeholders. Returns the files, relative to the target. */
export async function scaffold(
  target: string,
  template: string,
  values: Values,
): Promise<string[]> {
  const carried = await carriedPackages(template);
  await makeFolder(target);
  await cp(join(PACKAGE_ROOT, 'templates', template), target, { recursive: true });
  const names = await readdir(target, { recursive: true, withFileTypes: true });
  const files: string[] = [];
  for (const entry of names) {
    if (!entry.isFile()) continue;
    let file = join(entry.parentPath, entry.name);
    // npm leaves .gitignore out of packages, so templates carry it under another name.
    if (basename(file) === 'gitignore') {
      const hidden = join(entry.parentPath, '.gitignore');
      await rename(file, hidden);
      file = hidden;
    }
    files.push(relative(target, file));
    const text = await readFile(file, 'utf8');
    const filled = text
      .replaceAll('{{name}}', () => values.name)
      .replaceAll('{{crate}}', () => crateName(values.name))
      // It stands between quotes, in JSON.
      .replaceAll('{{publisher}}', () => JSON.stringify(values.publisher).slice(1, -1));
    if (filled !== text) await writeFile(file, filled);
  }
  if (carried.length > 0) await makeFolder(join(target, 'vendor'));
  for (const name of carried) {
    await cp(join(PACKAGE_ROOT, 'vendor', name), join(target, 'vendor', name));
    files.push(join('vendor', name));
  }
  return files.sort();
}

/** Names of crates begin with a letter and have no dots. */
function crateName(name: string): string {
  return name.replaceAll('.', '-').replace(/^(?![a-z])/, 'x');
}

/** The packages that projects of a template depend on by path; they go into its `vendor/`. */
async function carriedPackages(template: string): Promise<string[]> {
  const packageFile = join(PACKAGE_ROOT, 'templates', template, 'package.json');
  const wanted = existsSync(packageFile) ? await readFile(packageFile, 'utf8') : '';
  const names = CARRIED.filter((name) => wanted.includes(`file:vendor/${name}`));
  for (const name of names) {
    if (existsSync(join(PACKAGE_ROOT, 'vendor', name))) continue;
    throw new Failure('new.incomplete_install', `The alga command was installed without ${name}`, {
      hint: 'install it again from its tarball; in a checkout run: npm run build in sdk',
    });
  }
  return names;
}
