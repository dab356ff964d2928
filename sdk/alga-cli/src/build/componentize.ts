import { fork, type ChildProcess } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { PACKAGE_ROOT } from '../contracts.js';
import { BUNDLE_NAME, type Bundle } from './bundle.js';
import { componentizeFailure, endlessTopLevel } from './componentize-failure.js';
import type { Engine } from './engine.js';
import { WORLD } from './world.js';
import { writeFile } from '../write-file.js';

interface Job {
  /** Holds everything of the job; the child removes it when this process is gone. */
  folder: string;
  engine: Engine;
  source: string;
  wit: string;
  world: string;
  output: string;
  milliseconds: number;
}

/** `timeout`: the child ended the engine's own program, which took too long. */
type Answer = { ok: true } | { ok: false; message: string; timeout?: boolean };

/** Many times what a component takes; only a top level that does not end takes longer. */
const SECONDS = 120;
/** How much later this process ends a child that cannot do it itself. */
const GRACE_MS = 5000;

/** componentize-js writes paths into a command line that ends them at spaces. */
function temporaryFolder(): string {
  const folder = tmpdir();
  return /\s/.test(folder) ? '/tmp' : folder;
}

/** Turns bundles into components, one at a time, in a child process that is kept until `close()`
 * and never outlives this process. */
export class Componentizer {
  #child: ChildProcess | undefined;
  /** @param seconds how long one component may take; a change holds for the next one */
  constructor(public seconds = SECONDS) {}

  /**
   * Runs the bundle's top level once and snapshots the engine into a component. Works in a folder
   * of its own, so that no path of the project ends up in the component. Throws a Failure for what the module does wrong, a top level without end included.
   *
   * @param entry the author's module, as messages name it
   */
  async componentize(
    bundle: Bundle,
    witDirectory: string,
    engine: Engine = 'starlingmonkey',
    entry = 'src/index.ts',
  ): Promise<Uint8Array> {
    const work = await mkdtemp(join(temporaryFolder(), 'alga-build-'));
    try {
      const source = join(work, 'source', BUNDLE_NAME);
      await mkdir(join(work, 'source'));
      await writeFile(source, bundle.code);
      await cp(witDirectory, join(work, 'wit'), { recursive: true });
      const output = join(work, 'component.wasm');
      const wit = join(work, 'wit');
      const answer = await this.#run({
        folder: work,
        engine,
        source,
        wit,
        world: WORLD,
        output,
        milliseconds: this.seconds * 1000,
      });
      if (answer.ok) return await readFile(output);
      if (answer.timeout === true) throw endlessTopLevel(this.seconds);
      throw componentizeFailure(answer.message, bundle, entry);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }

  /** Ends the child, also in the middle of a component. */
  close(): void {
    this.#child?.stdin?.destroy();
    this.#child = undefined;
  }

  #run(job: Job): Promise<Answer> {
    this.#child ??= fork(join(PACKAGE_ROOT, 'bin', 'componentize.js'), [], {
      // Standard input is never written to: it closes when this process ends, however it ends.
      stdio: ['pipe', 'ignore', 'pipe', 'ipc'],
      execArgv: [],
      // A group of its own, so that it can end together with the program that an engine starts.
      detached: true,
    });
    const child = this.#child;
    return new Promise((resolve, reject) => {
      let errors = '';
      const collect = (text: Buffer) => (errors = (errors + text.toString()).slice(-16_384));
      // QuickJS runs inside the child, which then hears nothing.
      const overdue = setTimeout(() => {
        child.off('exit', ended);
        this.close();
        resolve({ ok: false, message: '', timeout: true });
      }, job.milliseconds + GRACE_MS);
      const ended = (code: number | null) => {
        clearTimeout(overdue);
        this.#child = undefined;
        reject(new Error(`the build process ended early (code ${String(code)}): ${errors}`));
      };
      child.stderr?.on('data', collect);
      child.once('exit', ended);
      child.once('message', (answer) => {
        clearTimeout(overdue);
        child.off('exit', ended);
        child.stderr?.off('data', collect);
        resolve(answer as Answer);
      });
      child.send(job);
    });
  }
}
