import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

import { FakeServer } from './fake-server.js';

// Stands in for the server program where a test is about `alga dev` and not about the server.
const { values } = parseArgs({
  args: process.argv.slice(3),
  options: {
    role: { type: 'string' },
    data: { type: 'string' },
    listen: { type: 'string' },
    config: { type: 'string' },
    'port-file': { type: 'string' },
    'bootstrap-token-file': { type: 'string' },
  },
});

const server = new FakeServer();
// Names a file that tells when a publish waits; it waits for ever.
const publishing = process.env['STUB_ALGAD_HOLDS'];
if (publishing !== undefined) {
  server.hold = (path) => {
    if (!path.endsWith('/finalize')) return Promise.resolve();
    writeFileSync(publishing, '');
    return new Promise(() => undefined);
  };
}
const url = await server.start();
writeFileSync(values['bootstrap-token-file'] ?? '', `${server.token}\n`, { mode: 0o600 });
writeFileSync(values['port-file'] ?? '', new URL(url).port);
process.once('SIGTERM', () => void server.stop().then(() => process.exit(0)));
