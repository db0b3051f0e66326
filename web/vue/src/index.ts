/**
 * The notification centre for Vue 3, on a `@duebell/client`.
 *
 * Reading order: plugin.ts connects, context.ts is what all parts share, composables/ keep lists and preferences live,
 * components/ show them. Plain logic is in files of its own: list.ts (what a change does to a list), burst.ts, countdown.ts,
 * clock.ts, when.ts, quiet.ts, pages.ts, links.ts, translate.ts.
 */
export { createNotifications, type NotificationsOptions, type NotificationsPlugin, type RouterLike } from './plugin.ts'
export type { Context, ScreenOptions } from './context.ts'
export {
  type Mark,
  type Undoable,
  useNotifications,
  type UseNotifications,
  type UseNotificationsOptions,
} from './composables/useNotifications.ts'
export { useUnreadCount, type UseUnreadCount } from './composables/useUnreadCount.ts'
export { useConnection, type UseConnection } from './composables/useConnection.ts'
export { usePreferences, type UsePreferences } from './composables/usePreferences.ts'
export { useToasts, type Toast, type UseToasts } from './composables/useToasts.ts'
export { useBadge, type UseBadgeOptions } from './composables/useBadge.ts'
export { default as NotificationCenter } from './components/NotificationCenter.vue'
export { default as NotificationsView } from './components/NotificationsView.vue'
export { default as NotificationPreferences } from './components/NotificationPreferences.vue'
export { default as NotificationToasts } from './components/NotificationToasts.vue'
export { default as NotificationList } from './components/NotificationList.vue'
export { default as NotificationItem } from './components/NotificationItem.vue'
export { default as NotificationPager } from './components/NotificationPager.vue'
export { default as ConnectionBanner } from './components/ConnectionBanner.vue'
export { Icon, type IconName } from './icon.ts'
export { channels, defaultKinds, type Channel, type KindInfo, type Tone } from './kinds.ts'
export { safeLink, type Link, type NotificationAction } from './links.ts'
export type { QuietHours } from './quiet.ts'
export type { Message, MessageKey, Messages, Translate } from './translate.ts'
