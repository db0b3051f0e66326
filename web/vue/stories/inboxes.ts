import type { Notification } from '@duebell/client'

const hour = 3_600_000

const texts = {
  en: [
    [
      'repayment.overdue',
      'Payment of €90.00 is 1 day overdue',
      'Hello Ana, the payment of €90.00 for Car loan (no. L-17) was due yesterday.',
    ],
    [
      'application.status_changed',
      'Application A-9: approved',
      'Hello Ana, the status of application A-9 is now: approved. Sign by Friday and the money is yours on Monday.',
    ],
    [
      'repayment.due_today',
      'Payment of €250.00 is due today',
      'Hello Ana, the payment of €250.00 for Home loan (no. L-4) is due today.',
    ],
    [
      'repayment.upcoming',
      'Payment of €250.00 is due in 3 days',
      'Hello Ana, the payment of €250.00 for Home loan (no. L-4) is due in 3 days.',
    ],
    [
      'repayment.rescheduled',
      'A payment has a new due date',
      'The payment that was due on 28 February is now due on 10 March.',
    ],
    ['card.shipped', 'Your card is on its way', 'It arrives within three working days.'],
  ],
  ar: [
    [
      'repayment.overdue',
      'دفعة بقيمة ٩٠ يورو متأخرة يومًا واحدًا',
      'مرحبًا آنا، دفعة قرض السيارة رقم L-17 كانت مستحقة أمس.',
    ],
    ['application.status_changed', 'الطلب A-9: تمت الموافقة', 'مرحبًا آنا، حالة الطلب A-9 الآن: تمت الموافقة.'],
    ['repayment.due_today', 'دفعة بقيمة ٢٥٠ يورو مستحقة اليوم', 'مرحبًا آنا، دفعة قرض المنزل رقم L-4 مستحقة اليوم.'],
    [
      'repayment.upcoming',
      'دفعة بقيمة ٢٥٠ يورو مستحقة بعد ٣ أيام',
      'مرحبًا آنا، دفعة قرض المنزل رقم L-4 مستحقة بعد ثلاثة أيام.',
    ],
    ['repayment.rescheduled', 'تغيّر موعد استحقاق دفعة', 'الدفعة التي كانت مستحقة في ٢٨ فبراير صارت في ١٠ مارس.'],
    ['card.shipped', 'بطاقتك في الطريق', 'تصل خلال ثلاثة أيام عمل.'],
  ],
} as const

/** Oldest first, as they came. */
export function inboxes(language: 'en' | 'ar', count: number): Partial<Notification>[] {
  return Array.from({ length: count }, (_, place) => {
    const i = count - 1 - place
    const [kind, title, body] = texts[language][i % 6] ?? texts[language][0]
    const hours = i < 2 ? i * 0.4 + 0.1 : i * 5
    const at = new Date(Date.now() - hours * hour).toISOString()
    return {
      kind,
      title,
      body,
      url: i % 3 === 2 ? null : `/loans/${i}`,
      created_at: at,
      read_at: i > 2 ? at : null,
      resolved_at: i === 3 ? at : null,
      quiet: i === 4,
      data:
        i === 1
          ? {
              actions: [
                { label: language === 'ar' ? 'وقّع الآن' : 'Sign now', url: '/sign', primary: true },
                { label: language === 'ar' ? 'الشروط' : 'Terms', url: '/terms' },
              ],
            }
          : null,
    }
  })
}
