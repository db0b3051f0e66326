import { defineConfig } from 'vitest/config'

/** Browser tests, one after the other: they share the machine with a browser and the programs. */
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['src/setup.ts'],
    fileParallelism: false,
    testTimeout: 90_000,
    hookTimeout: 90_000,
    // A browser on a machine that is busy: what fails twice has failed.
    retry: 1,
  },
})
