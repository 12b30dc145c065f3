import { defineConfig } from 'vitest/config';

/** Files that measure neither memory nor time, apart from those that do, in groups one by one. */
const twoAtATime = (groupOrder: number) => ({ maxWorkers: 2, sequence: { groupOrder } });
/** Packing builds `dist/` anew, which none of these reads. */
const besidePacking = twoAtATime(1);
const onTheBuilt = twoAtATime(2);

// By what a test needs: `unit` runs in Node alone; `native`, `e2e` and `package` need the built
// addon and dist/. Files of `native` and `services` run one after another, since each of them keeps
// every core busy.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          pool: 'threads', // sooner there than processes
          ...besidePacking,
          testTimeout: 20_000,
        },
      },
      {
        resolve: {
          alias: {
            'bpeft/engine': new URL('./ts/engine/index.ts', import.meta.url).pathname,
            bpeft: new URL('./ts/index.ts', import.meta.url).pathname,
          },
        },
        test: { name: 'types', include: ['test/types/**/*.test.ts'], ...onTheBuilt },
      },
      {
        test: {
          name: 'native',
          include: ['test/native/**/*.test.ts'],
          pool: 'forks',
          fileParallelism: false,
          testTimeout: 60_000,
        },
      },
      {
        // The engine with `cuda` on an emulated driver (tools/cuda-emulator): Linux on x86-64 with
        // g++.
        test: {
          name: 'gpu',
          include: ['test/gpu/**/*.test.ts'],
          globalSetup: ['test/support/emulated-gpu-build.ts'],
          pool: 'forks',
          ...onTheBuilt,
          testTimeout: 300_000,
          hookTimeout: 1_200_000,
        },
      },
      {
        // What takes minutes and finds what `native` finds, only more of it: not in npm test, which
        // runs the other projects.
        test: {
          name: 'long',
          include: ['test/long/**/*.test.ts'],
          pool: 'forks',
          testTimeout: 1_800_000,
        },
      },
      {
        test: {
          name: 'package',
          include: ['test/package/**/*.test.ts'],
          pool: 'forks',
          ...besidePacking,
          testTimeout: 600_000,
          hookTimeout: 300_000,
        },
      },
      {
        // Needs a browser, which `npm run test:browser` downloads; not in npm test.
        test: {
          name: 'browser',
          include: ['test/browser/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        // Other people's programs read what we write: wandb, tensorboard. Their Python environment
        // is made on first use.
        test: {
          name: 'services',
          include: ['test/services/**/*.test.ts'],
          pool: 'forks',
          fileParallelism: false,
          testTimeout: 120_000,
        },
      },
      {
        // Examples import the package by its name, as a user would: the built one.
        resolve: {
          alias: {
            'bpeft/engine': new URL('./dist/engine/index.js', import.meta.url).pathname,
            bpeft: new URL('./dist/index.js', import.meta.url).pathname,
          },
        },
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          pool: 'forks',
          ...onTheBuilt,
          testTimeout: 180_000,
          hookTimeout: 180_000,
        },
      },
    ],
  },
});
