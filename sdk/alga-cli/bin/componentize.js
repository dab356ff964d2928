// Child process of `alga build`: makes components on request, one after the other. Componentizing
// blocks its process for seconds; here it does not block progress and watching, and a process that
// stays alive makes its second component five times as fast as its first.
//
// Receives jobs { engine, source, wit, world, output, milliseconds } (see src/build/componentize.ts),
// answers { ok: true } or { ok: false, message, timeout }, and ends when its parent closes its standard
// input, whatever it is doing then (see parent-watch.js). Leader of a process group of its own.
import childProcess from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { dirname } from 'node:path';
import { Worker } from 'node:worker_threads';

const watch = new Worker(new URL('parent-watch.js', import.meta.url));

// componentize-js starts the engine's own program and waits for it without a bound: it would outlive
// everything that started it when the author's top level does not end.
const { spawnSync } = childProcess;
let bound = { milliseconds: 0, exceeded: false };
childProcess.spawnSync = (program, args, options) => {
  const timeout = bound.milliseconds;
  const ended = spawnSync(program, args, { ...options, timeout, killSignal: 'SIGKILL' });
  if (ended.error?.code === 'ETIMEDOUT') bound.exceeded = true;
  return ended;
};
syncBuiltinESMExports();

/** Each engine is loaded when the first component for it is made: QuickJS alone is 39 MB. */
const ENGINES = {
  starlingmonkey: async (job) => {
    const { componentize } = await import('@bytecodealliance/componentize-js');
    return componentize({
      sourcePath: job.source,
      witPath: job.wit,
      worldName: job.world,
      disableFeatures: ['http', 'fetch-event'],
    });
  },
  quickjs: async (job) => {
    const { default: quickjs } = await import('componentize-qjs');
    return quickjs.componentize({
      jsSource: await readFile(job.source, 'utf8'),
      jsPath: job.source,
      moduleRoot: dirname(job.source),
      witPath: job.wit,
      world: job.world,
      // The other runtime of this tool uses the asynchronous component model, which is off.
      sync: true,
    });
  },
};

process.on('message', async (job) => {
  watch.postMessage(job.folder);
  // Where the engines' own tools put what they need for a moment.
  process.env.TMPDIR = job.folder;
  bound = { milliseconds: job.milliseconds, exceeded: false };
  try {
    const { component } = await ENGINES[job.engine](job);
    await writeFile(job.output, component);
    process.send({ ok: true });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    process.send({ ok: false, message, timeout: bound.exceeded });
  }
});
