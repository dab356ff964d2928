// Child process of `alga build`: makes components on request, one after the other. Componentizing
// blocks its process for seconds; here it does not block progress and watching, and a process that
// stays alive makes its second component five times as fast as its first.
//
// Receives jobs { source, wit, world, output } (see src/build/componentize.ts), answers
// { ok: true } or { ok: false, message }, and ends when its parent disconnects.
import { writeFile } from 'node:fs/promises';

import { componentize } from '@bytecodealliance/componentize-js';

process.on('message', async (job) => {
  try {
    const { component } = await componentize({
      sourcePath: job.source,
      witPath: job.wit,
      worldName: job.world,
      disableFeatures: ['http', 'fetch-event'],
    });
    await writeFile(job.output, component);
    process.send({ ok: true });
  } catch (error) {
    process.send({ ok: false, message: error instanceof Error ? error.message : String(error) });
  }
});
