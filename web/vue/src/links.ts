import type { Notification } from '@duebell/client'

/** What a notification offers to do. */
export interface NotificationAction {
  label: string
  /** https or a path of this site; others aren't offered. */
  url?: string
  /** Called instead of following a link. */
  run?: () => unknown
  primary?: boolean
}

export interface Link {
  href: string
  /** A path of this site: the router's. Others open beside the app. */
  path?: string
  target?: '_blank'
}

/**
 * Answers where a click may lead: https, or a path of this site. Anything else (javascript:, data:, //host, control
 * characters that a browser skips) is null, whatever the loan system sent.
 */
export function safeLink(url: string | null | undefined): Link | null {
  // eslint-disable-next-line no-control-regex
  if (!url || /[\s\\\u0000-\u001f\u007f-\u009f]/.test(url)) return null
  if (/^\/(?!\/)/.test(url)) return { href: url, path: url }
  if (!/^https:\/\/[^/?#@]+([/?#]|$)/i.test(url)) return null
  const here = typeof location === 'undefined' ? '' : location.origin
  return here && url.startsWith(here + '/')
    ? { href: url, path: url.slice(here.length) }
    : { href: url, target: '_blank' }
}

/** The actions in a notification's own data: `actions: [{label, url, primary?}]`. */
export function actionsOf({ data }: Notification): NotificationAction[] {
  const actions: unknown[] = Array.isArray(data?.actions) ? data.actions : []
  return actions
    .filter((action): action is NotificationAction => {
      const { label, url } = Object(action) as Record<string, unknown>
      return typeof label === 'string' && typeof url === 'string'
    })
    .map(({ label, url, primary }) => ({ label, url, primary: !!primary }))
}

/** Whether the browser itself should handle a click: a new tab, a download. */
export function isModified(event: MouseEvent): boolean {
  return event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey
}
