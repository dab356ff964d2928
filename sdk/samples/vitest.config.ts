import { homedir } from 'node:os';
import { join } from 'node:path';

import { defineConfig } from 'vitest/config';

// Components are built once per source and toolchain, not once per run.
const cache = process.env['ALGA_CACHE'] ?? join(homedir(), '.cache', 'alga');

// Components of Python use constant expressions that Node.js 20 knows on request.
const old = Number(process.versions.node.split('.')[0]) < 22;

export default defineConfig({
  test: {
    include: ['*/src/**/*.test.ts', '*.test.ts'],
    env: { ALGA_BUILD_CACHE: join(cache, 'components') },
    testTimeout: 300_000,
    execArgv: old ? ['--experimental-wasm-extended-const'] : [],
    hookTimeout: 300_000,
    // Two files build the same sample.
    fileParallelism: false,
  },
});
