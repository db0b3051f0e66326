import type en from './locales/en.ts'

/** A text with `{name}` in it, or one for each plural category of the language, chosen by `{n}`. */
export type Message = string | ({ [category in Intl.LDMLPluralRule]?: string } & { other: string })

export type MessageKey = keyof typeof en

/** All texts of a language. `lang` is its BCP 47 tag. An app may add `kind.NAME` for kinds of its own. */
export type Messages = Record<MessageKey, Message> & { lang: string; [kind: `kind.${string}`]: Message }

export type Values = Record<string, string | number>

export interface Translate {
  (key: MessageKey, values?: Values): string
  /** What people call a kind: `kind.NAME` of the messages, else made of its name. */
  kind: (kind: string) => string
}

export function createTranslate(messages: Messages, locale: string): Translate {
  const plural = new Intl.PluralRules(locale)
  const number = new Intl.NumberFormat(locale)

  function fill(message: Message, values: Values): string {
    const text = typeof message === 'string' ? message : (message[plural.select(Number(values.n))] ?? message.other)
    return text.replace(/\{(\w+)\}/g, (_, name: string) => {
      const value = values[name] ?? ''
      return typeof value === 'number' ? number.format(value) : value
    })
  }

  const translate = (key: MessageKey, values: Values = {}) => fill(messages[key], values)
  return Object.assign(translate, {
    kind(kind: string): string {
      const message = messages[`kind.${kind}`]
      if (message) return fill(message, {})
      const words = kind.replace(/[._-]+/g, ' ').trim()
      return words.charAt(0).toLocaleUpperCase(locale) + words.slice(1)
    },
  })
}

const rightToLeft = /^(ar|fa|he|ps|ur|yi)\b/

export function directionOf(locale: string): 'ltr' | 'rtl' {
  return rightToLeft.test(locale) ? 'rtl' : 'ltr'
}
