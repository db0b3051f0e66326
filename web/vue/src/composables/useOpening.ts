import { isUnread, type Notification } from '@duebell/client'
import { useContext } from '../context.ts'
import { isModified, type NotificationAction, safeLink } from '../links.ts'

/** What a click on a notification or on one of its actions does: it reads it, and goes where that leads. */
export function useOpening() {
  const { client, options } = useContext()

  /** Answers whether the app went to another of its pages. */
  return function open(item: Notification, event?: MouseEvent, action?: NotificationAction): boolean {
    // A refusal shows: the client takes it back.
    if (isUnread(item)) void client.read(item.id).catch(() => {})
    if (action?.run) {
      action.run()
      return false
    }
    const path = safeLink(action ? action.url : item.url)?.path
    if (!event || !path || !options.routerPush || isModified(event)) return false
    event.preventDefault()
    options.routerPush(path)
    return true
  }
}
