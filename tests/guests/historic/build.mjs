// build.mjs PACKAGE SOURCE WIT FEATURES OUT: builds one component with the named version of componentize-js,
// without the features of the comma-separated list.
import { writeFile } from 'node:fs/promises';

const [name, sourcePath, witPath, disabled, out] = process.argv.slice(2);
const { componentize } = await import(name);
const options = { sourcePath, witPath, worldName: 'runner', disableFeatures: disabled.split(',') };
const { component } = await componentize(options);
await writeFile(out, component);
