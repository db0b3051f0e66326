import { fileURLToPath } from 'node:url'
import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vite'

/** `npm run stories`: every component in its states, on a client that lies in memory. */
export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  plugins: [vue()],
  resolve: { alias: { '@duebell/client': fileURLToPath(new URL('../../client/src/index.ts', import.meta.url)) } },
})
