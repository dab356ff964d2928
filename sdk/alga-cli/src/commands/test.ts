import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

import type { Command } from 'commander';

import { addCommand } from '../command.js';
import type { Environment } from '../environment.js';
import { Failure } from '../failure.js';
import { openProject } from '../project/project.js';

export function registerTest(program: Command, environment: Environment): void {
  addCommand<{ watch?: boolean }>(
    program,
    'test [filter...]',
    'Run the tests of the project with vitest',
    environment,
    async ({ options, args, output, project }) => {
      // Whoever stands in the wrong folder reads that, and not what it lacks.
      await openProject(project);
      const vitest = findVitest(project);
      const options_ = [options.watch === true ? 'watch' : 'run', '--root', project];
      if (output.json) options_.push('--reporter=json');
      const { signal } = environment;
      const code = await run([vitest, ...options_, ...args], project, signal);
      // Who watches ends it with an interrupt; that is no failure.
      if (code !== 0 && !(options.watch === true && signal.aborted)) {
        throw new Failure('test.failed', 'The tests did not pass', {
          hint: 'alga test <part of a file name> runs fewer',
        });
      }
    },
  ).option('-w, --watch', 'go on and run again on every change');
}

/** Program of the vitest that the project installed. */
function findVitest(project: string): string {
  try {
    const manifest = createRequire(join(project, 'package.json')).resolve('vitest/package.json');
    return join(dirname(manifest), 'vitest.mjs');
  } catch (cause) {
    throw new Failure('test.no_vitest', 'The project has no vitest', {
      hint: 'run npm install; a project without one adds it with: npm install --save-dev vitest',
      cause,
    });
  }
}

function run(options: string[], cwd: string, signal: AbortSignal): Promise<number | null> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, options, { cwd, stdio: 'inherit' });
    signal.addEventListener('abort', () => child.kill('SIGTERM'), { once: true });
    child.once('error', reject);
    child.once('exit', resolve);
  });
}
