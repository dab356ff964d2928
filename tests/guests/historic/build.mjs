// build.mjs PACKAGE SOURCE WIT OUT: builds one component with the named version of componentize-js.
import { writeFile } from 'node:fs/promises';

const [name, sourcePath, witPath, out] = process.argv.slice(2);
const { componentize } = await import(name);
const options = { sourcePath, witPath, worldName: 'runner', disableFeatures: ['http', 'fetch-event'] };
const { component } = await componentize(options);
await writeFile(out, component);
