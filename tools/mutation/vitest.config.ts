import { defineConfig } from 'vitest/config';

// What Stryker runs: the tests that need neither the engine nor a build, in the rooms that it
// mutates.
const rooms = ['batches', 'cli', 'config', 'methods', 'metrics', 'protocol', 'run'];
export default defineConfig({
  test: { include: rooms.map((room) => `test/unit/${room}/**/*.test.ts`), testTimeout: 20_000 },
});
