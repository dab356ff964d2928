import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['*/src/**/*.test.ts', '*.test.ts'],
    testTimeout: 180_000,
    hookTimeout: 180_000,
    // Two files build the same sample.
    fileParallelism: false,
  },
});
