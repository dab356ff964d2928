import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

import type { Command } from 'commander';

import { BUNDLE_FILE, packProject } from '../bundle/pack.js';
import { addCommand, shownPath } from '../command.js';
import type { Environment } from '../environment.js';
import { Failure } from '../failure.js';
import { formatBytes } from '../output.js';
import { openProject } from '../project/project.js';
import { reportFindings } from './build.js';
import { writeFile } from '../write-file.js';

interface PackOptions {
  out?: string;
  force?: boolean;
  dryRun?: boolean;
}

export function registerPackCommands(program: Command, environment: Environment): void {
  addCommand<PackOptions>(
    program,
    'pack',
    'Pack the built project into a reproducible bundle and print its hash',
    environment,
    async ({ options, output, project: directory }) => {
      const project = await openProject(directory);
      const file = resolve(environment.cwd, options.out ?? resolve(project.root, BUNDLE_FILE));
      if (existsSync(file) && options.out !== undefined && options.force !== true) {
        throw new Failure('pack.exists', `${options.out} exists already`, {
          hint: 'give another --out, or --force to replace it',
        });
      }
      const packed = await output.during('Packing', () => packProject(project));
      reportFindings(packed.findings, output);
      if (options.dryRun !== true) await writeFile(file, packed.archive);
      output.table(
        ['bytes', 'file'],
        packed.entries.map(({ name, bytes }) => [String(bytes), name]),
      );
      const shown = shownPath(environment, file);
      const what = options.dryRun === true ? 'would be' : '';
      output.print(`${shown} ${what} ${formatBytes(packed.archive.length)}`.replace('  ', ' '));
      output.print(packed.contentHash);
      output.result({
        bundle: shown,
        bytes: packed.archive.length,
        content_hash: packed.contentHash,
        entries: packed.entries,
      });
    },
    { project: true },
  )
    .option(
      '-o, --out <file>',
      `where to write the bundle (default: ${BUNDLE_FILE} in the project)`,
    )
    .option('-f, --force', 'replace the file that --out names')
    .option('--dry-run', 'show contents, size and hash, and write nothing');
}
