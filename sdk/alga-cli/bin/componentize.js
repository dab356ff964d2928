// Child process of `alga build`: makes components on request, one after the other. Componentizing
// blocks its process for seconds; here it does not block progress and watching, and a process that
// stays alive makes its second component five times as fast as its first.
//
// Receives jobs { engine, source, wit, world, output } (see src/build/componentize.ts), answers
// { ok: true } or { ok: false, message }, and ends when its parent disconnects.
import { readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

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
  try {
    const { component } = await ENGINES[job.engine](job);
    await writeFile(job.output, component);
    process.send({ ok: true });
  } catch (error) {
    process.send({ ok: false, message: error instanceof Error ? error.message : String(error) });
  }
});
