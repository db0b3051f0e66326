import { fileURLToPath } from 'node:url'
import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vite'

const file = (path: string) => fileURLToPath(new URL(path, import.meta.url))

/** The packages' sources, so that what is tested is what is written. */
export default defineConfig({
  root: file('.'),
  logLevel: 'error',
  plugins: [vue()],
  resolve: {
    alias: [
      { find: /^@duebell\/vue\/locales\/(.*)$/, replacement: file('../../vue/src/locales/$1.ts') },
      { find: '@duebell/vue', replacement: file('../../vue/src/index.ts') },
      { find: '@duebell/client', replacement: file('../../client/src/index.ts') },
    ],
  },
  build: { target: 'es2022', emptyOutDir: true },
})
