import { existsSync } from 'node:fs';
import { cp, readFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

import { PACKAGE_ROOT } from '../contracts.js';
import { Failure } from '../failure.js';
import { makeFolder } from '../make-folder.js';
import type { Output } from '../output.js';
import type { Project } from '../project/project.js';
import { supervise } from '../supervised.js';
import { WORLD } from './world.js';

/** A language other than TypeScript, recognised by a file of the project. */
export interface Language {
  name: string;
  marker: string;
  /** Whether clock and random numbers are those of the build, because there is no WASI below. */
  frozen: boolean;
  /** Builds the component. @param wit folder with the project's world */
  build: (project: Project, wit: string, tools: Tools) => Promise<Uint8Array>;
}

const LANGUAGES: readonly Language[] = [
  { name: 'Rust', marker: 'Cargo.toml', frozen: false, build: buildRust },
  { name: 'Python', marker: 'src/app.py', frozen: true, build: buildPython },
  { name: 'C++', marker: 'src/main.cpp', frozen: false, build: buildCpp },
];

/** The language that a project without a TypeScript entry is written in. */
export function languageOf(project: Project): Language | undefined {
  return LANGUAGES.find(({ marker }) => existsSync(join(project.root, marker)));
}

/** Builds the component of a project in another language with that language's own tools. */
export function buildLanguage(
  language: Language,
  project: Project,
  wit: string,
  output: Output,
): Promise<Uint8Array> {
  return output.during(`Building with the ${language.name} tools`, () =>
    language.build(project, wit, new Tools(project.root)),
  );
}

/**
 * `cargo build` for wasm32-unknown-unknown, then a component around the core module. Where the
 * target's standard library is not installed but its source is, cargo builds that too.
 */
async function buildRust(project: Project, _wit: string, tools: Tools): Promise<Uint8Array> {
  const hint = 'install Rust and its target: rustup target add wasm32-unknown-unknown';
  const sysroot = (await tools.run('rustc', ['--print', 'sysroot'], hint)).trim();
  const target = 'wasm32-unknown-unknown';
  const options = [
    'build',
    '--release',
    '--target',
    target,
    '--message-format',
    'json-render-diagnostics',
  ];
  const environment: Record<string, string> = {};
  if (!existsSync(join(sysroot, 'lib', 'rustlib', target, 'lib'))) {
    if (!existsSync(join(sysroot, 'lib', 'rustlib', 'src', 'rust', 'library'))) {
      throw new Failure('build.no_target', `Rust has no standard library for ${target}`, { hint });
    }
    options.push('-Zbuild-std=std,panic_abort');
    environment['RUSTC_BOOTSTRAP'] = '1';
  }
  const messages = await tools.run('cargo', options, hint, environment);
  const file = messages
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as { reason: string; filenames?: string[] })
    .flatMap(({ reason, filenames }) => (reason === 'compiler-artifact' ? (filenames ?? []) : []))
    .findLast((name) => name.endsWith('.wasm'));
  if (file === undefined) {
    throw new Failure('build.no_artifact', 'cargo made no .wasm file', {
      hint: 'Cargo.toml needs: [lib] crate-type = ["cdylib"]',
    });
  }
  const { componentNew } = await import('@bytecodealliance/jco');
  return componentNew(await readFile(file));
}

/** componentize-py, without WASI: what it would import includes sockets, which are refused. */
async function buildPython(project: Project, wit: string, tools: Tools): Promise<Uint8Array> {
  const out = join(project.work, 'python.wasm');
  const hint = 'install it: python3 -m venv .venv && .venv/bin/pip install componentize-py==0.25.1';
  await tools.run(
    'componentize-py',
    ['-q', '-d', wit, '-w', WORLD, 'componentize', '--stub-wasi', '-p', 'src', 'app', '-o', out],
    hint,
  );
  return readFile(out);
}

/** clang for wasm32-wasi with the generated C bindings, then a component around the core module. */
async function buildCpp(project: Project, _wit: string, tools: Tools): Promise<Uint8Array> {
  const hint =
    'install clang with wasi-libc; on Debian: clang-19 lld-19 wasi-libc libc++-19-dev-wasm32 libc++abi-19-dev-wasm32 libclang-rt-19-dev-wasm32';
  const work = join(project.work, 'cpp');
  await makeFolder(work);
  // The bindings cover all interfaces; a component imports only those that its code calls.
  await cp(join(PACKAGE_ROOT, 'generated', 'c'), work, { recursive: true });
  const bindings = join(work, 'bindings.o');
  const module = join(work, 'main.core.wasm');
  const target = ['--target=wasm32-wasi', '-O2', `-I${work}`];
  const c = tools.find(['clang', 'clang-19']);
  const cpp = tools.find(['clang++', 'clang++-19']);
  await tools.run(c, [...target, '-c', join(work, 'extension.c'), '-o', bindings], hint);
  const options = ['-std=c++20', '-fno-exceptions', '-mexec-model=reactor', 'src/main.cpp'];
  const objects = [bindings, join(work, 'extension_component_type.o')];
  await tools.run(cpp, [...target, ...options, ...objects, '-o', module], hint);
  const { componentNew, preview1AdapterReactorPath } = await import('@bytecodealliance/jco');
  const adapter = await readFile(preview1AdapterReactorPath());
  return componentNew(await readFile(module), [['wasi_snapshot_preview1', adapter]]);
}

/** What a compiler has to put away when the command that started it is gone. */
const GRACE_SECONDS = 2;

/** Runs the tools of other languages: no shell, advice when one is missing, none outlives the command. */
class Tools {
  readonly #cwd: string;
  readonly #path: string;

  constructor(cwd: string) {
    this.#cwd = cwd;
    // A virtual environment of the project comes first, as after `activate`.
    this.#path = [join(cwd, '.venv', 'bin'), process.env['PATH'] ?? ''].join(delimiter);
  }

  /** The first of some names that is installed, or the first one. */
  find(names: readonly [string, ...string[]]): string {
    const folders = this.#path.split(delimiter);
    const found = names.find((name) => folders.some((folder) => existsSync(join(folder, name))));
    return found ?? names[0];
  }

  /** Returns what the program wrote to its standard output. */
  async run(
    program: string,
    options: string[],
    hint: string,
    environment: Record<string, string> = {},
  ): Promise<string> {
    if (!this.#path.split(delimiter).some((folder) => existsSync(join(folder, program)))) {
      throw new Failure('build.no_tool', `The program ${program} was not found`, { hint });
    }
    return new Promise((resolve, reject) => {
      const child = supervise(program, options, { stdout: 'pipe', stderr: 'pipe' }, GRACE_SECONDS, {
        cwd: this.#cwd,
        env: { ...process.env, ...environment, PATH: this.#path },
      });
      let out = '';
      let err = '';
      child.stdout?.setEncoding('utf8').on('data', (text: string) => (out += text));
      child.stderr
        ?.setEncoding('utf8')
        .on('data', (text: string) => (err = (err + text).slice(-16_384)));
      child.once('error', reject);
      child.once('close', (code) => {
        if (code === 0) resolve(out);
        else reject(new Failure('build.tool_failed', `${program} failed`, { frame: err.trim() }));
      });
    });
  }
}
