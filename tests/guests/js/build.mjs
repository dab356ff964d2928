// Builds one component: build.mjs SOURCE WIT OUT FEATURES, where FEATURES is a comma-separated list of
// the features to disable.
import { writeFile } from 'node:fs/promises';
import { componentize } from '@bytecodealliance/componentize-js';

const [sourcePath, witPath, out, disable] = process.argv.slice(2);
const { component } = await componentize({
  sourcePath,
  witPath,
  worldName: 'runner',
  disableFeatures: disable ? disable.split(',') : [],
});
await writeFile(out, component);
