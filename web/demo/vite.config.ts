import { fileURLToPath } from 'node:url'
import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vitest/config'

const file = (path: string) => fileURLToPath(new URL(path, import.meta.url))

/** The page that `duebell demo` has in it. What is built is committed, so it must be the same wherever it is built: verify.mjs. */
export default defineConfig({
  root: file('.'),
  plugins: [vue()],
  // The packages' sources: nothing has to be built before.
  resolve: {
    alias: [
      { find: /^@duebell\/vue\/locales\/(.*)$/, replacement: file('../vue/src/locales/$1.ts') },
      { find: '@duebell/vue', replacement: file('../vue/src/index.ts') },
      { find: '@duebell/client', replacement: file('../client/src/index.ts') },
    ],
  },
  define: { __VUE_OPTIONS_API__: 'false' },
  build: {
    target: 'es2022',
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'], // they know light-dark(), and older ones would need twice the style
    outDir: file('../../cmd/duebell/demo/page'),
    emptyOutDir: true, // it is outside of this folder
    assetsInlineLimit: 0, // a data: address is what the page's policy refuses
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
    rolldownOptions: {
      input: { office: file('index.html'), device: file('device.html') },
      output: {
        entryFileNames: 'assets/[name].js',
        chunkFileNames: 'assets/[name].js',
        assetFileNames: 'assets/[name][extname]',
      },
    },
  },
  // `npm run dev` beside a running `duebell demo`.
  server: { proxy: { '/demo': 'http://127.0.0.1:8080', '/v1': { target: 'http://127.0.0.1:8080', ws: true } } },
  test: { include: ['test/**/*.test.ts'], restoreMocks: true },
})
