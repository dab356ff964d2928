import type { ChildProcess } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';

import type { Command } from 'commander';

import { addCommand } from '../command.js';
import type { Environment } from '../environment.js';
import { ExitCode, Failure } from '../failure.js';
import { openProject } from '../project/project.js';
import { killSupervised, supervise } from '../supervised.js';

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
      const { signal } = environment;
      if (output.json) {
        if (options.watch === true) throw noDocument();
        output.result(await report(vitest, project, args, signal));
        return;
      }
      const how = options.watch === true ? 'watch' : 'run';
      const code = await run([vitest, how, '--root', project, ...args], project, signal);
      if (code === 0) return;
      const interrupted = signal.aborted || code === ExitCode.Interrupted;
      // Who watches ends it with an interrupt; that is no failure.
      if (interrupted && options.watch === true) return;
      throw interrupted ? endedByUser() : notPassed();
    },
    { project: true },
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

function notPassed(details: Record<string, unknown> = {}): Failure {
  return new Failure('test.failed', 'The tests did not pass', {
    hint: 'alga test <part of a file name> runs fewer',
    details,
  });
}

function endedByUser(): Failure {
  return new Failure('interrupted', 'Interrupted', { exitCode: ExitCode.Interrupted });
}

function noDocument(): Failure {
  return new Failure('usage', 'Tests that go on have no end to report', {
    hint: 'leave out --json or --watch',
    exitCode: ExitCode.Usage,
  });
}

/** What vitest's own report holds of what scripts need. */
interface VitestReport {
  numPassedTests: number;
  numFailedTests: number;
  testResults: {
    name: string;
    message?: string;
    assertionResults: { fullName: string; status: string; failureMessages?: string[] }[];
  }[];
}

/** Runs the tests quietly and counts them. Throws a Failure with what failed. */
async function report(
  vitest: string,
  project: string,
  filters: readonly string[],
  signal: AbortSignal,
): Promise<Record<string, unknown>> {
  const folder = await mkdtemp(join(tmpdir(), 'alga-test-'));
  try {
    const file = join(folder, 'report.json');
    const options = [
      '--root',
      project,
      '--reporter=default',
      '--reporter=json',
      `--outputFile=${file}`,
    ];
    const { code, said } = await runQuietly(
      [vitest, 'run', ...options, ...filters],
      { cwd: project, folder },
      signal,
    );
    if (signal.aborted) throw endedByUser();
    const text = await readFile(file, 'utf8').catch(() => undefined);
    if (text === undefined) throw notPassed({ output: said });
    const { numPassedTests, numFailedTests, testResults } = JSON.parse(text) as VitestReport;
    const failures = testResults.flatMap(({ name, message = '', assertionResults }) => [
      ...(message === ''
        ? []
        : [{ file: relative(project, name), message: stripVTControlCharacters(message) }]),
      ...assertionResults
        .filter(({ status }) => status === 'failed')
        .map(({ fullName, failureMessages = [] }) => ({
          file: relative(project, name),
          test: fullName,
          message: stripVTControlCharacters(failureMessages.join('\n')),
        })),
    ]);
    const counted = { passed: numPassedTests, failed: numFailedTests };
    // What belongs to no test, such as a rejection that nobody handled, is in no report.
    if (code !== 0) throw notPassed({ ...counted, failures, output: said });
    return counted;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What vitest has to put away when this command is told to end, or is gone. */
const GRACE_SECONDS = 5;

/** Runs the tests on the terminal. */
function run(options: string[], cwd: string, signal: AbortSignal): Promise<number | null> {
  const streams = { stdin: 'inherit', stdout: 'inherit', stderr: 'inherit' } as const;
  return ended(supervise(process.execPath, options, streams, GRACE_SECONDS, { cwd }), signal);
}

/** Most of what vitest says that is kept: the end of it. */
const MOST_SAID = 16_384;

async function runQuietly(
  options: string[],
  places: { cwd: string; folder: string },
  signal: AbortSignal,
): Promise<{ code: number | null; said: string }> {
  const env = { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' };
  const streams = { stdout: 'pipe', stderr: 'pipe' } as const;
  const child = supervise(process.execPath, options, streams, GRACE_SECONDS, { ...places, env });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-MOST_SAID);
    });
  }
  const code = await ended(child, signal);
  return { code, said: stripVTControlCharacters(said).trim() };
}

function ended(child: ChildProcess, signal: AbortSignal): Promise<number | null> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      child.kill('SIGTERM');
      const force = setTimeout(() => killSupervised(child), GRACE_SECONDS * 1000);
      child.once('exit', () => clearTimeout(force));
    };
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    child.once('error', reject);
    child.once('close', (code) => {
      signal.removeEventListener('abort', stop);
      resolve(code);
    });
  });
}
