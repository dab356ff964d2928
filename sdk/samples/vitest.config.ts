import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: { include: ['*/src/**/*.test.ts', '*.test.ts'], testTimeout: 180_000 },
});
