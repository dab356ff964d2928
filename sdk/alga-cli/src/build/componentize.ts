import { fork, type ChildProcess } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { codeFrame } from '../code-frame.js';
import { PACKAGE_ROOT } from '../contracts.js';
import { Failure } from '../failure.js';
import { mapFrames, SourceMap } from '../source-map.js';
import { BUNDLE_NAME, type Bundle } from './bundle.js';
import type { Engine } from './engine.js';
import { WORLD } from './world.js';

interface Job {
  engine: Engine;
  source: string;
  wit: string;
  world: string;
  output: string;
}

type Answer = { ok: true } | { ok: false; message: string };

/** Turns bundles into components, one at a time, in a child process that is kept until `close()`. */
export class Componentizer {
  #child: ChildProcess | undefined;

  /**
   * Runs the bundle's top level once and snapshots the engine into a component. Works in a folder
   * of its own, so that no path of the project ends up in the component and spaces in paths do no
   * harm. Throws a Failure for what the module does wrong.
   */
  async componentize(
    bundle: Bundle,
    witDirectory: string,
    engine: Engine = 'starlingmonkey',
  ): Promise<Uint8Array> {
    const work = await mkdtemp(join(tmpdir(), 'alga-build-'));
    try {
      const source = join(work, 'source', BUNDLE_NAME);
      await mkdir(join(work, 'source'));
      await writeFile(source, bundle.code);
      await cp(witDirectory, join(work, 'wit'), { recursive: true });
      const output = join(work, 'component.wasm');
      const wit = join(work, 'wit');
      const answer = await this.#run({ engine, source, wit, world: WORLD, output });
      if (answer.ok) return await readFile(output);
      throw componentizeFailure(answer.message, bundle);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }

  close(): void {
    if (this.#child?.connected === true) this.#child.disconnect();
    this.#child = undefined;
  }

  #run(job: Job): Promise<Answer> {
    this.#child ??= fork(join(PACKAGE_ROOT, 'bin', 'componentize.js'), [], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      execArgv: [],
    });
    const child = this.#child;
    return new Promise((resolve, reject) => {
      let errors = '';
      const collect = (text: Buffer) => (errors = (errors + text.toString()).slice(-16_384));
      const ended = (code: number | null) => {
        this.#child = undefined;
        reject(new Error(`the build process ended early (code ${String(code)}): ${errors}`));
      };
      child.stderr?.on('data', collect);
      child.once('exit', ended);
      child.once('message', (answer) => {
        child.off('exit', ended);
        child.stderr?.off('data', collect);
        resolve(answer as Answer);
      });
      child.send(job);
    });
  }
}

/** StarlingMonkey's way to say it, which names no line, and the runtime library's on QuickJS. */
const DRAWS_RANDOM =
  /unknown imported function: 'wasi:random|no random numbers while the component is built/;

/** What went wrong while the module's top level ran, at the author's line where there is one. */
function componentizeFailure(message: string, bundle: Bundle): Failure {
  const map = new SourceMap(bundle.map);
  const frame = mapFrames(message, map).find((found) => found.author);
  const hint =
    'code outside the handler runs while the component is built, where no capability works: move it into the handler';
  const details = { output: message };
  const random = DRAWS_RANDOM.test(message);
  const code = random ? 'build.random_at_build' : 'build.componentize_failed';
  const text = random ? 'Random numbers are drawn outside the handler' : summarize(message);
  if (frame === undefined) return new Failure(code, text, { hint, details });
  const { file, line, column } = frame;
  const source = map.sourceOf(file);
  return new Failure(code, text, {
    hint,
    location: { file, line, column },
    ...(source === undefined ? {} : { frame: codeFrame(source, line, column) }),
    details,
  });
}

function summarize(message: string): string {
  const lines = message.split('\n').map((line) => line.trim());
  const thrown = lines.find((line) => /^(Uncaught |[A-Za-z]*Error\b|.*exception)/.test(line));
  return thrown ?? lines.find((line) => line !== '') ?? 'the engine refused the module';
}
