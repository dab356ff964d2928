import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';

import type { Command } from 'commander';

import { addCommand } from '../command.js';
import { PACKAGE_ROOT } from '../contracts.js';
import { findAlgad } from '../dev/algad.js';
import type { Environment } from '../environment.js';
import { Failure } from '../failure.js';
import { MANIFEST_FILE } from '../manifest/manifest.js';
import type { Output } from '../output.js';
import { openProject } from '../project/project.js';
import { ApiClient, resolveTarget, type ServerOptions } from '../server/client.js';
import type { Principal } from '../server/types.js';

type State = 'ok' | 'note' | 'wrong';

interface Finding {
  what: string;
  state: State;
  message: string;
  /** How to mend it. */
  hint?: string;
}

type Check = () => Finding | Promise<Finding>;

export function registerDoctor(program: Command, environment: Environment): void {
  addCommand<ServerOptions>(
    program,
    'doctor',
    'Check tools, project and server, and say how to mend what is wrong',
    environment,
    async ({ options, output, project }) => {
      const checks: Check[] = [
        checkNode,
        checkCarriedRuntime,
        () => checkPackage('esbuild', output),
        () => checkPackage('@bytecodealliance/componentize-js', output),
        () => checkPackage('componentize-qjs', output),
        () => checkAlgad(environment),
        () => checkProject(project),
        () => checkProjectRuntime(project),
        () => checkServer(environment, options, output),
        ...OTHER_TOOLS.map(
          ([what, programs]) =>
            () =>
              checkTools(environment, what, programs),
        ),
      ];
      const findings: Finding[] = [];
      for (const check of checks) {
        const finding = await check();
        findings.push(finding);
        const mark = { ok: '✔', note: '·', wrong: '✘' }[finding.state];
        output.print(`${mark} ${finding.what.padEnd(18)} ${finding.message}`);
        if (finding.hint !== undefined) output.print(`  → ${finding.hint}`);
      }
      const wrong = findings.filter(({ state }) => state === 'wrong').length;
      if (wrong > 0) {
        throw new Failure('doctor.found', `${wrong} thing${wrong === 1 ? '' : 's'} to mend`, {
          details: { findings },
        });
      }
      output.result({ findings });
    },
    { project: true },
  ).option('--url <url>', 'server to check (default: ALGA_URL, then the last login)');
}

const OTHER_TOOLS: [string, string[]][] = [
  ['Rust', ['cargo', 'rustc']],
  ['Python', ['componentize-py']],
  ['C++', ['clang++', 'wasm-ld']],
];

function checkNode(): Finding {
  const major = Number(process.versions.node.split('.')[0]);
  const message = `${process.versions.node} on ${process.platform} ${process.arch}`;
  return major >= 20
    ? { what: 'Node.js', state: 'ok', message }
    : { what: 'Node.js', state: 'wrong', message, hint: 'install Node.js 20 or newer' };
}

function checkCarriedRuntime(): Finding {
  const what = 'alga';
  const { version } = JSON.parse(readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8')) as {
    version: string;
  };
  return existsSync(join(PACKAGE_ROOT, 'vendor', 'alga-extension-runtime.tgz'))
    ? { what, state: 'ok', message: `${version}, carries the runtime package` }
    : {
        what,
        state: 'wrong',
        message: `${version}, without the runtime package`,
        hint: 'install it again from its tarball',
      };
}

/** Whether a tool that the command is built on is installed and loads. */
async function checkPackage(name: string, output: Output): Promise<Finding> {
  const what = name.replace('@bytecodealliance/', '');
  const load = () => import(name) as Promise<{ version?: string }>;
  try {
    const module = await output.during(`Loading ${what}`, load, { quick: true });
    return { what, state: 'ok', message: module.version ?? 'loads' };
  } catch (error) {
    const message = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
    return { what, state: 'wrong', message, hint: 'install the alga command again' };
  }
}

function checkAlgad(environment: Environment): Finding {
  const what = 'algad';
  const program = findAlgad(environment);
  return program === undefined
    ? { what, state: 'note', message: 'not found', hint: 'alga dev needs it: set ALGAD or PATH' }
    : { what, state: 'ok', message: program };
}

async function checkProject(folder: string): Promise<Finding> {
  const what = 'project';
  if (!existsSync(join(folder, MANIFEST_FILE))) {
    return { what, state: 'note', message: 'this folder is no extension project' };
  }
  try {
    const { manifest } = await openProject(folder);
    return { what, state: 'ok', message: `${manifest.name} ${manifest.version}` };
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const hint = error.hint ?? 'alga validate shows the place';
    return { what, state: 'wrong', message: error.message, hint };
  }
}

/** The bindings in a project should be those that the command builds for. */
function checkProjectRuntime(folder: string): Finding {
  const what = 'runtime package';
  if (!existsSync(join(folder, 'package.json'))) {
    return { what, state: 'note', message: 'this folder has no package.json' };
  }
  try {
    const require = createRequire(join(folder, 'package.json'));
    const file = require.resolve('@alga/extension-runtime/package.json');
    const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string };
    return { what, state: 'ok', message: version };
  } catch {
    const hint = 'run npm install in the project';
    return { what, state: 'wrong', message: '@alga/extension-runtime is not installed', hint };
  }
}

async function checkServer(
  environment: Environment,
  options: ServerOptions,
  output: Output,
): Promise<Finding> {
  const what = 'server';
  try {
    const target = await resolveTarget(environment, options);
    const client = new ApiClient(target, output);
    const health = await client.send('/healthz', { signal: AbortSignal.timeout(5000) });
    if (!health.ok) {
      return {
        what,
        state: 'wrong',
        message: `${target.url} answers ${health.status} to /healthz`,
      };
    }
    if (target.token === undefined) {
      return {
        what,
        state: 'note',
        message: `${target.url} is up; nobody is logged in`,
        hint: 'alga login',
      };
    }
    const { principal } = await client.json<{ principal: Principal }>('/api/v1/whoami');
    return {
      what,
      state: 'ok',
      message: `${target.url} as ${principal.label} (${principal.roles.join(', ')})`,
    };
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const state = error.code === 'server.unreachable' ? 'note' : 'wrong';
    const hint = error.hint === undefined ? {} : { hint: error.hint };
    return { what, state, message: error.message, ...hint };
  }
}

function checkTools(environment: Environment, what: string, programs: string[]): Finding {
  const folders = (environment.variables['PATH'] ?? '').split(delimiter);
  const missing = programs.filter(
    (name) => !folders.some((folder) => existsSync(join(folder, name))),
  );
  return missing.length === 0
    ? { what, state: 'ok', message: programs.join(', ') }
    : {
        what,
        state: 'note',
        message: `${missing.join(', ')} not found`,
        hint: `only for extensions in ${what}: see sdk/docs/other-languages.md`,
      };
}
