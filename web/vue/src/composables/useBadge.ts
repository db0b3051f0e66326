import { onScopeDispose, watch } from 'vue'
import { useContext } from '../context.ts'

export interface UseBadgeOptions {
  /** What counts: `unseen` as the bell does, or `unread`. */
  count?: 'unseen' | 'unread'
  /** "(3) " before the title. */
  title?: boolean
  /** A dot on the page's icon. A Content-Security-Policy has to allow `img-src data:`. */
  favicon?: boolean
  /** The number on the icon of an installed app. */
  app?: boolean
}

/** The title with the count before it. */
export function badgedTitle(title: string, count: number): string {
  const plain = title.replace(/^\(\d+\+?\) /, '')
  return count ? `(${count > 99 ? '99+' : count}) ${plain}` : plain
}

/** Shows the count outside of the page while the caller's scope lives. Titles that the app sets meanwhile keep it. */
export function useBadge({ count = 'unseen', title = true, favicon = true, app = true }: UseBadgeOptions = {}): void {
  if (typeof document === 'undefined') return
  const { counts } = useContext()
  const icon = favicon ? document.querySelector<HTMLLinkElement>('link[rel~="icon"]') : null
  const plain = icon?.href ?? ''
  let shown = 0
  let dotted: Promise<string> | undefined

  function showTitle(): void {
    const wanted = badgedTitle(document.title, shown)
    if (title && document.title !== wanted) document.title = wanted
  }

  function show(n: number): void {
    shown = n
    showTitle()
    // Browsers without it, or a page that isn't installed, refuse: there is nothing to show then.
    if (app) void navigator.setAppBadge?.(n).catch(() => {})
    if (!icon) return
    if (!n) icon.href = plain
    else
      (dotted ??= withDot(plain)).then(
        (href) => shown && (icon.href = href),
        () => {}, // an icon of another host can't be drawn on: it stays as it is
      )
  }

  watch(() => counts.value?.[count] ?? 0, show, { immediate: true })
  const observer = new MutationObserver(showTitle)
  observer.observe(document.head, { subtree: true, childList: true, characterData: true })
  onScopeDispose(() => {
    observer.disconnect()
    show(0)
  })
}

const size = 64

async function withDot(href: string): Promise<string> {
  const image = new Image(size, size)
  image.src = href
  await image.decode()
  const canvas = document.createElement('canvas')
  canvas.width = canvas.height = size
  const drawing = canvas.getContext('2d')
  if (!drawing) return href
  drawing.drawImage(image, 0, 0, size, size)
  drawing.arc(46, 18, 16, 0, 7)
  drawing.fillStyle = '#d3263a'
  drawing.strokeStyle = '#fff'
  drawing.lineWidth = 4
  drawing.fill()
  drawing.stroke()
  return canvas.toDataURL()
}
