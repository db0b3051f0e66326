import { fileURLToPath } from 'node:url'
import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vitest/config'

const languages = ['en', 'cs', 'es', 'ar', 'hi']
const file = (path: string) => fileURLToPath(new URL(path, import.meta.url))

export default defineConfig({
  // A name for each static part of a template would weigh more than it saves: they are small, and there are many.
  plugins: [vue({ template: { compilerOptions: { hoistStatic: false } } })],
  build: {
    target: 'es2022',
    // light-dark() stays as it is: lowered here it would follow a color-scheme only in apps that lower it too.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    lib: {
      entry: {
        index: file('src/index.ts'),
        ...Object.fromEntries(languages.map((language) => [`locales/${language}`, file(`src/locales/${language}.ts`)])),
      },
      formats: ['es'],
      cssFileName: 'style',
    },
    rolldownOptions: { external: ['vue', /^@duebell\/client/] },
  },
  test: {
    environment: 'happy-dom',
    include: ['test/**/*.test.ts'],
    restoreMocks: true,
    // The sources, so that a change to the client needs no build here.
    alias: {
      '@duebell/client/testing': file('../client/src/testing.ts'),
      '@duebell/client': file('../client/src/index.ts'),
    },
  },
})
