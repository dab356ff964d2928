import { chmod, mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

import { main } from '../src/main.js';
import { testEnvironment } from './fixture.js';

const HERE = dirname(fileURLToPath(import.meta.url));

/** Puts the stand-in for the server program into a folder, and returns its path. */
export async function writeStubAlgad(folder: string): Promise<string> {
  const algad = join(folder, 'bin', 'algad');
  await mkdir(dirname(algad), { recursive: true });
  const { outputFiles } = await build({
    entryPoints: [join(HERE, 'stub-algad.ts')],
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    write: false,
    outfile: algad,
  });
  // A bundle in a folder of its own does not find the workspace's packages. Test files that run at
  // the same time put the same one there.
  const program = join(HERE, '..', '.stub-algad.mjs');
  await writeFile(`${program}.${process.pid}`, outputFiles[0]?.text ?? '');
  await rename(`${program}.${process.pid}`, program);
  await writeFile(algad, `#!${process.execPath}\nimport(${JSON.stringify(program)});\n`);
  await chmod(algad, 0o755);
  return algad;
}

/** A command that goes on. What it writes is waited for, and then counts as read. */
export class Session {
  readonly code: Promise<number>;
  /** Everything that it has written to both streams, in order. */
  said = '';
  readonly #interrupt = new AbortController();
  #wake: () => void = () => undefined;

  constructor(folder: string, argv: readonly string[]) {
    const write = (text: string) => {
      this.said += text;
      this.#wake();
    };
    const streams = { stdout: { write }, stderr: { write } };
    const signal = this.#interrupt.signal;
    this.code = main(argv, { ...testEnvironment(folder), ...streams, signal });
  }

  /** Waits until `read` finds something in the lines that were written. */
  async find<T>(read: (lines: string[]) => T | undefined): Promise<T> {
    for (;;) {
      const found = read(this.said.split('\n').slice(0, -1));
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  interrupt(): void {
    this.#interrupt.abort();
  }
}

export type EventLine = Record<string, unknown>;

/** A command that goes on with `--json`. */
export class EventSession extends Session {
  readonly #taken = new Set<number>();

  constructor(folder: string, argv: readonly string[]) {
    super(folder, [...argv, '--json']);
  }

  get events(): EventLine[] {
    const lines = this.said.split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as EventLine);
  }

  /** The first event, of those not taken yet, that `wanted` is true of; takes it. */
  next(wanted: (event: EventLine) => boolean): Promise<EventLine> {
    return this.find(() => {
      const { events } = this;
      const index = events.findIndex((event, at) => !this.#taken.has(at) && wanted(event));
      if (index >= 0) this.#taken.add(index);
      return events[index];
    });
  }
}
