import type { Client } from '@duebell/client'
import { mount, type VueWrapper } from '@vue/test-utils'
import { type Component, defineComponent, h, nextTick } from 'vue'
import { afterEach, vi } from 'vitest'
import { createNotifications, type NotificationsOptions } from '../src/index.ts'
import { createFakeClient, type FakeClient } from './fakeClient.ts'

const mounted: VueWrapper[] = []

afterEach(() => {
  for (const wrapper of mounted.splice(0)) wrapper.unmount()
  document.body.innerHTML = ''
  vi.useRealTimers()
})

export interface Screen {
  wrapper: VueWrapper
  client: FakeClient
}

/** A component in a page with a live connection. */
export function show(
  component: Component,
  props: Record<string, unknown> = {},
  options: NotificationsOptions = {},
  client = createFakeClient(),
): Screen {
  return { wrapper: showWith(client, component, props, options), client }
}

export function showWith(
  client: Client,
  component: Component,
  props: Record<string, unknown> = {},
  options: NotificationsOptions = {},
): VueWrapper {
  const wrapper = mount(component, {
    props,
    attachTo: document.body,
    global: { plugins: [createNotifications(client, { locale: 'en-GB', timeZone: 'UTC', ...options })] },
  })
  mounted.push(wrapper)
  return wrapper
}

/** What a composable returns, in a component of its own. */
export function run<T>(
  composable: () => T,
  options: NotificationsOptions = {},
  client = createFakeClient(),
): { result: T; client: FakeClient } {
  let result: T | undefined
  show(
    defineComponent({
      setup() {
        result = composable()
        return () => h('i')
      },
    }),
    {},
    options,
    client,
  )
  return { result: result as T, client }
}

/** Lets promises and renders settle. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 8; i++) await Promise.resolve()
  await nextTick()
  await nextTick()
}

export const texts = (wrapper: VueWrapper, selector: string) => wrapper.findAll(selector).map((found) => found.text())

export function button(wrapper: VueWrapper, name: string) {
  const found = wrapper
    .findAll('button')
    .find((other) => other.text() === name || other.attributes('aria-label') === name)
  if (!found)
    throw new Error(
      `no button ${name} among ${wrapper
        .findAll('button')
        .map((b) => b.attributes('aria-label') ?? b.text())
        .join(', ')}`,
    )
  return found
}
