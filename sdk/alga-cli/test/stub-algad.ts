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

const LINE = { tenant: 'dev', extension: 'x', version: '1', request_id: 'r1' };
const REFUSED = JSON.stringify({ code: 'gateway.endpoint_not_found', message: 'no such endpoint' });

/** Paths of which `alga dev` has more to say; every other one is echoed. */
server.gateway = (path) => {
  server.executions.length = 0;
  if (path === '/undeclared') return { status: 404, body: REFUSED, requestId: 'r0' };
  const finished_at = '2030-01-01T00:00:00Z';
  const metrics = { call_us: 1700, cpu_us: 900 };
  if (path === '/loop') {
    const end = { end_class: 'cpu_limit', author_error: 'more than 5000 ms' };
    server.executions.push({ request_id: 'r1', ...end, finished_at, metrics });
    return { status: 504, body: '{}', requestId: 'r1' };
  }
  server.executions.push({ request_id: 'r1', end_class: 'ok', finished_at, metrics });
  server.log({ ...LINE, level: 'info', message: `asked for ${path}\nin two lines` });
  return { status: 200, body: JSON.stringify({ path }), requestId: 'r1' };
};
const url = await server.start();
writeFileSync(values['bootstrap-token-file'] ?? '', `${server.token}\n`, { mode: 0o600 });
writeFileSync(values['port-file'] ?? '', new URL(url).port);
process.once('SIGTERM', () => void server.stop().then(() => process.exit(0)));
