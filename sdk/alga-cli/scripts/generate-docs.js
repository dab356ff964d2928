// Writes the generated pages of sdk/docs. `npm run build` must have run before.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { contractFile } from '../dist/contracts.js';
import { processEnvironment } from '../dist/environment.js';
import { createProgram } from '../dist/main.js';
import { cliReference, manifestReference } from '../dist/reference-docs.js';

const docs = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'docs');
const schema = JSON.parse(readFileSync(contractFile('schema/manifest.schema.json'), 'utf8'));
writeFileSync(join(docs, 'cli-reference.md'), cliReference(createProgram(processEnvironment())));
writeFileSync(join(docs, 'manifest-reference.md'), manifestReference(schema));
