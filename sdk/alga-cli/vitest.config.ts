import { homedir } from 'node:os';
import { join } from 'node:path';

import { defineConfig } from 'vitest/config';

// Components are built once per source and toolchain, not once per run.
const cache = process.env['ALGA_CACHE'] ?? join(homedir(), '.cache', 'alga');

// Components of QuickJS and of Python use constant expressions that Node.js 20 knows on request.
const old = Number(process.versions.node.split('.')[0]) < 22;

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    // Tests wait for causes; these only end one that hangs, on a busy machine, too.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    expect: { poll: { timeout: 60_000 } },
    execArgv: old ? ['--experimental-wasm-extended-const'] : [],
    env: { ALGA_BUILD_CACHE: join(cache, 'components') },
  },
});
