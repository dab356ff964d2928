import { homedir } from 'node:os';
import { join } from 'node:path';

import { defineConfig } from 'vitest/config';

// Components are built once per source and toolchain, not once per run.
const cache = process.env['ALGA_CACHE'] ?? join(homedir(), '.cache', 'alga');

export default defineConfig({
  test: {
    include: ['*/src/**/*.test.ts', '*.test.ts'],
    env: { ALGA_BUILD_CACHE: join(cache, 'components') },
    testTimeout: 180_000,
    hookTimeout: 180_000,
    // Two files build the same sample.
    fileParallelism: false,
  },
});
