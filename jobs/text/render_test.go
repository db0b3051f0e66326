package text

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"pgregory.net/rapid"

	"duebell/docs"
	"duebell/internal/civil"
	"duebell/internal/money"
	"duebell/internal/policy"
)

func vars(days int) Vars {
	return Vars{
		Name: "Ana", Product: "Car loan", LoanID: "L-17", Amount: "€60.00", DueDate: civil.MustParse("2026-03-10"),
		PreviousDueDate: civil.MustParse("2026-02-28"), Days: days, ApplicationID: "A-9", From: "submitted", To: "approved",
		Reason: "All papers are there.", Count: 3,
	}
}

// plain takes the marks out that keep directions apart.
func plain(s string) string { return strings.NewReplacer("\u2068", "", "\u2069", "").Replace(s) }

func TestRender(t *testing.T) {
	for _, c := range []struct {
		kind, locale string
		days         int
		title, body  string
	}{
		{policy.KindUpcoming, "en", 1, "Payment of €60.00 is due tomorrow",
			"Hello Ana, the payment of €60.00 for Car loan (no. L-17) is due tomorrow, 10 March 2026."},
		{policy.KindUpcoming, "en", 2, "Payment of €60.00 is due in 2 days",
			"Hello Ana, the payment of €60.00 for Car loan (no. L-17) is due in 2 days, on 10 March 2026."},
		{policy.KindUpcoming, "en", 21, "Payment of €60.00 is due in 21 days", ""},
		{policy.KindDueToday, "en", 0, "Payment of €60.00 is due today",
			"Hello Ana, the payment of €60.00 for Car loan (no. L-17) is due today, 10 March 2026."},
		{policy.KindOverdue, "en", -1, "Payment of €60.00 is 1 day overdue",
			"Hello Ana, the payment of €60.00 for Car loan (no. L-17) was due on 10 March 2026 and is 1 day overdue."},
		{policy.KindOverdue, "en", -5, "Payment of €60.00 is 5 days overdue", ""},
		{policy.KindOverdue, "en", -21, "Payment of €60.00 is 21 days overdue", ""},
		{policy.KindRescheduled, "en", 0, "A payment has a new due date",
			"Hello Ana, the payment of €60.00 for Car loan (no. L-17) that was due on 28 February 2026 is now due on 10 March 2026."},
		{policy.KindSummary, "en", 0, "3 repayments need attention", "Hello Ana, 3 repayments on the loans in your care need attention."},
		{policy.KindStatusChanged, "en", 0, "Application A-9: approved",
			"Hello Ana, the status of application A-9 is now: approved. Before: submitted. Reason: All papers are there."},

		{policy.KindUpcoming, "cs", 1, "Splátka €60.00 je splatná zítra",
			"Dobrý den, Ana, splátka €60.00 (Car loan, č. L-17) je splatná zítra, 10. března 2026."},
		{policy.KindUpcoming, "cs", 2, "Splátka €60.00 je splatná za 2 dny", ""},
		{policy.KindUpcoming, "cs-CZ", 5, "Splátka €60.00 je splatná za 5 dní", ""},
		{policy.KindUpcoming, "cs", 21, "Splátka €60.00 je splatná za 21 dní", ""},
		{policy.KindDueToday, "cs", 0, "Splátka €60.00 je splatná dnes", ""},
		{policy.KindOverdue, "cs", -1, "Splátka €60.00 je 1 den po splatnosti", ""},
		{policy.KindOverdue, "cs", -2, "Splátka €60.00 je 2 dny po splatnosti", ""},
		{policy.KindOverdue, "cs", -21, "Splátka €60.00 je 21 dní po splatnosti", ""},
		{policy.KindRescheduled, "cs", 0, "Splátka má nové datum splatnosti",
			"Dobrý den, Ana, splátka €60.00 (Car loan, č. L-17), která byla splatná 28. února 2026, je nově splatná 10. března 2026."},
		{policy.KindSummary, "cs", 0, "3 splátky vyžadují pozornost", ""},
		{policy.KindStatusChanged, "cs", 0, "Žádost A-9: schválená",
			"Dobrý den, Ana, stav žádosti A-9 je nyní: schválená. Předtím: podaná. Důvod: All papers are there."},

		{policy.KindUpcoming, "es", 1, "El pago de €60.00 vence mañana", ""},
		{policy.KindUpcoming, "es-MX", 2, "El pago de €60.00 vence en 2 días",
			"Hola, Ana: el pago de €60.00 (Car loan, n.º L-17) vence en 2 días, el 10 de marzo de 2026."},
		{policy.KindUpcoming, "es", 21, "El pago de €60.00 vence en 21 días", ""},
		{policy.KindDueToday, "es", 0, "El pago de €60.00 vence hoy", ""},
		{policy.KindOverdue, "es", -1, "El pago de €60.00 lleva 1 día de retraso", ""},
		{policy.KindOverdue, "es", -5, "El pago de €60.00 lleva 5 días de retraso", ""},
		{policy.KindRescheduled, "es", 0, "Un pago tiene nueva fecha de vencimiento", ""},
		{policy.KindSummary, "es", 0, "3 pagos requieren atención", ""},
		{policy.KindStatusChanged, "es", 0, "Solicitud A-9: aprobada", ""},

		{policy.KindUpcoming, "ar", 1, "دفعة بقيمة €60.00 مستحقة غدًا", ""},
		{policy.KindUpcoming, "ar", 2, "دفعة بقيمة €60.00 مستحقة بعد يومين", ""},
		{policy.KindUpcoming, "ar", 5, "دفعة بقيمة €60.00 مستحقة بعد 5 أيام",
			"مرحبًا Ana، الدفعة بقيمة €60.00 عن Car loan (رقم L-17) مستحقة بعد 5 أيام، في 10 مارس 2026."},
		{policy.KindUpcoming, "ar-EG", 5, "دفعة بقيمة €60.00 مستحقة بعد ٥ أيام",
			"مرحبًا Ana، الدفعة بقيمة €60.00 عن Car loan (رقم L-17) مستحقة بعد ٥ أيام، في ١٠ مارس ٢٠٢٦."},
		{policy.KindUpcoming, "ar", 21, "دفعة بقيمة €60.00 مستحقة بعد 21 يومًا", ""},
		{policy.KindUpcoming, "ar", 100, "دفعة بقيمة €60.00 مستحقة بعد 100 يوم", ""},
		{policy.KindDueToday, "ar", 0, "دفعة بقيمة €60.00 مستحقة اليوم", ""},
		{policy.KindOverdue, "ar", -1, "دفعة بقيمة €60.00 متأخرة يومًا واحدًا", ""},
		{policy.KindOverdue, "ar", -2, "دفعة بقيمة €60.00 متأخرة يومين", ""},
		{policy.KindOverdue, "ar", -5, "دفعة بقيمة €60.00 متأخرة 5 أيام", ""},
		{policy.KindOverdue, "ar", -21, "دفعة بقيمة €60.00 متأخرة 21 يومًا", ""},
		{policy.KindSummary, "ar", 0, "3 دفعات تحتاج إلى متابعة", ""},
		{policy.KindStatusChanged, "ar", 0, "الطلب A-9: تمت الموافقة عليه", ""},

		{policy.KindUpcoming, "hi", 1, "€60.00 का भुगतान कल देय है", ""},
		{policy.KindUpcoming, "hi-IN", 2, "€60.00 का भुगतान 2 दिन में देय है",
			"नमस्ते Ana, Car loan (सं. L-17) के लिए €60.00 का भुगतान 2 दिन में, 10 मार्च 2026 को देय है।"},
		{policy.KindDueToday, "hi", 0, "€60.00 का भुगतान आज देय है", ""},
		{policy.KindOverdue, "hi", -1, "€60.00 का भुगतान 1 दिन से बकाया है", ""},
		{policy.KindOverdue, "hi", -21, "€60.00 का भुगतान 21 दिन से बकाया है", ""},
		{policy.KindSummary, "hi", 0, "3 भुगतानों पर ध्यान देना है", ""},
		{policy.KindStatusChanged, "hi", 0, "आवेदन A-9: स्वीकृत", ""},

		{policy.KindDueToday, "fr-FR", 0, "Payment of €60.00 is due today", ""},
		{policy.KindDueToday, "", 0, "Payment of €60.00 is due today", ""},
		{policy.KindDueToday, "no such locale", 0, "Payment of €60.00 is due today", ""},
		{policy.KindDueToday, "ES", 0, "El pago de €60.00 vence hoy", ""},
		{policy.KindDueToday, "en-u-nu-arab", 0, "Payment of €60.00 is due today", ""},
	} {
		title, body, err := Render(c.kind, c.locale, vars(c.days))
		if err != nil || plain(title) != c.title {
			t.Errorf("%s in %q, %d days: %q, %v; want %q", c.kind, c.locale, c.days, plain(title), err, c.title)
		}
		if c.body != "" && plain(body) != c.body {
			t.Errorf("%s in %q, %d days:\n%q, want\n%q", c.kind, c.locale, c.days, plain(body), c.body)
		}
	}
}

func TestRenderRefusesWhatIsNotTrue(t *testing.T) {
	for _, c := range []struct {
		kind string
		days []int
	}{
		{policy.KindUpcoming, []int{0, -1, -30}}, {policy.KindDueToday, []int{1, -1}}, {policy.KindOverdue, []int{0, 1}},
		{"card.shipped", []int{0}}, {"", []int{0}},
	} {
		for _, days := range c.days {
			if title, _, err := Render(c.kind, "en", vars(days)); err == nil {
				t.Errorf("%s with %d days is %q", c.kind, days, title)
			}
		}
	}
}

// TestEveryLanguageIsComplete renders everything with every number that has a plural form of its own somewhere.
func TestEveryLanguageIsComplete(t *testing.T) {
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Sorted(maps.Keys(c.plain[0]))
	for i, language := range languages {
		if got := slices.Sorted(maps.Keys(c.plain[i])); !slices.Equal(got, want) {
			t.Errorf("%s has other messages than %s: %v", language, languages[0], got)
		}
		numbers := []int{1_000_000, 2_000_000, 999_999}
		for n := range 400 {
			numbers = append(numbers, n)
		}
		for _, n := range numbers {
			for _, kind := range policy.Kinds() {
				v := vars(n)
				v.Count = n
				switch kind {
				case policy.KindUpcoming:
					v.Days = max(n, 1)
				case policy.KindDueToday:
					v.Days = 0
				case policy.KindOverdue:
					v.Days = min(-n, -1)
				}
				title, body, err := Render(kind, language, v)
				if err != nil {
					t.Fatalf("%s in %s for %d: %v", kind, language, n, err)
				}
				shown := plain(title + body)
				if strings.Contains(shown, "{{") || strings.Contains(shown, "<no value>") || strings.Contains(title, "\n") {
					t.Errorf("%s in %s for %d: %q %q", kind, language, n, title, body)
				}
				if days := max(v.Days, -v.Days); days > 2 && !strings.Contains(title, fmt.Sprint(days)) && strings.HasPrefix(kind, "repayment.") && v.Days != 0 && kind != policy.KindRescheduled && kind != policy.KindSummary {
					t.Errorf("%s in %s doesn't say %d: %q", kind, language, days, title)
				}
			}
		}
	}
}

func TestEveryMonthAndStatusIsNamed(t *testing.T) {
	for _, language := range languages {
		seen := map[string]bool{}
		for month := range 12 {
			v := vars(0)
			v.DueDate = civil.Date{Year: 2026, Month: 1, Day: 15}.AddDays(month * 30)
			_, body, err := Render(policy.KindDueToday, language, v)
			if err != nil {
				t.Fatal(err)
			}
			seen[body] = true
		}
		if len(seen) != 12 {
			t.Errorf("%s has %d months", language, len(seen))
		}
	}
	for _, c := range []struct{ status, want string }{
		{"under_review", "Application A-9: under review"}, {"Under Review", "Application A-9: under review"},
		{"DISBURSED", "Application A-9: paid out"}, {"kyc_hold", "Application A-9: kyc_hold"}, {"{{.Name}}", "Application A-9: {{.Name}}"},
	} {
		v := vars(0)
		v.To = c.status
		if title, _, err := Render(policy.KindStatusChanged, "en", v); err != nil || title != c.want {
			t.Errorf("%q is told as %q, %v", c.status, title, err)
		}
	}
}

// Every status that a loan may have by the published document has words in every language.
func TestEveryStatusHasWords(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(docs.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	statuses := doc.Components.Schemas["Loan"].Value.Properties["status"].Value.Enum
	if len(statuses) < 6 {
		t.Fatalf("openapi.yaml has the statuses %v", statuses)
	}
	for _, language := range languages {
		said := map[string]any{}
		for _, status := range statuses {
			v := vars(0)
			v.From, v.To = "", status.(string)
			title, _, err := Render(policy.KindStatusChanged, language, v)
			if err != nil {
				t.Fatal(err)
			}
			if _, found := newPrinter(language).message("status."+v.To, &words{}); !found {
				t.Errorf("%s in %s is told as %q", status, language, title)
			}
			if other, twice := said[title]; twice {
				t.Errorf("%s and %s are both %q in %s", status, other, title, language)
			}
			said[title] = status
		}
	}
}

func TestWhatIsMissingLeavesNoHole(t *testing.T) {
	v := Vars{LoanID: "L-17", Amount: "€60.00", DueDate: civil.MustParse("2026-03-10"), ApplicationID: "A-9", To: "approved"}
	for kind, want := range map[string]string{
		policy.KindDueToday:      "Hello customer, the payment of €60.00 for the loan (no. L-17) is due today, 10 March 2026.",
		policy.KindStatusChanged: "Hello customer, the status of application A-9 is now: approved.",
	} {
		if _, body, err := Render(kind, "en", v); err != nil || body != want {
			t.Errorf("%s: %q, %v", kind, body, err)
		}
	}
}

func TestSomebodyElsesLoanSaysWhose(t *testing.T) {
	v := vars(-1)
	v.Borrower = "Bob"
	for _, language := range languages {
		_, body, err := Render(policy.KindOverdue, language, v)
		if err != nil || !strings.Contains(body, "Bob") {
			t.Errorf("in %s: %q, %v", language, body, err)
		}
	}
}

// TestNamesComeOutLiterally gives every field text that looks like a template, markup or a second line.
func TestNamesComeOutLiterally(t *testing.T) {
	nasty := rapid.OneOf(
		rapid.SampledFrom([]string{
			"{{.Amount}}", "{{", "}}", "{{range}}", "{{.}}", "a\nb", "a\r\nBcc: x", "<b>&amp;</b>", "%s%d", "$1", "\\n", "'\"", "\x00", "עברית", "\u202e",
		}),
		rapid.StringN(1, 20, -1),
	)
	rapid.Check(t, func(t *rapid.T) {
		v := Vars{
			Name: nasty.Draw(t, "name"), Product: nasty.Draw(t, "product"), LoanID: nasty.Draw(t, "loan"), Borrower: nasty.Draw(t, "borrower"),
			Amount: nasty.Draw(t, "amount"), DueDate: civil.MustParse("2026-03-10"), Days: 5,
			ApplicationID: nasty.Draw(t, "application"), From: nasty.Draw(t, "from"), To: nasty.Draw(t, "to"), Reason: nasty.Draw(t, "reason"),
		}
		language := rapid.SampledFrom(languages).Draw(t, "language")
		for kind, parts := range map[string][]string{
			policy.KindUpcoming:      {v.Name, v.Product, v.LoanID, v.Borrower, v.Amount},
			policy.KindStatusChanged: {v.Name, v.ApplicationID, v.Reason},
		} {
			_, body, err := Render(kind, language, v)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range parts {
				if !strings.Contains(body, part) {
					t.Fatalf("%q is not in %q", part, body)
				}
			}
		}
	})
}

func TestLocale(t *testing.T) {
	for locale, want := range map[string]string{
		"en-GB": "en-GB", "cs": "cs", "es_MX": "es_MX", "ar-EG": "ar-EG", "fr-FR": "en", "": "en", "x": "en", "zh-Hant-TW": "en", "HI-in": "HI-in",
	} {
		if got := Locale(locale); got != want {
			t.Errorf("Locale(%q) = %q, want %q", locale, got, want)
		}
	}
}

func FuzzRenderLocale(f *testing.F) {
	for _, seed := range []string{"", "en", "ar-EG", "zh-Hant-TW", "en-u-nu-arab", "-", "\xff", strings.Repeat("a-", 1000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, locale string) {
		v := vars(5)
		v.Amount = money.Format(6000, 2, "EUR", Locale(locale))
		title, body, err := Render(policy.KindUpcoming, locale, v)
		if err != nil || title == "" || !utf8.ValidString(body) {
			t.Fatalf("in %q: %q, %q, %v", locale, title, body, err)
		}
	})
}

func TestTemplatesAreChecked(t *testing.T) {
	for _, src := range []string{"{{.Nam}}", "{{Name}}", "{{.Name", "{{ .Name }}", "{{.Name | html}}", "{{range .Days}}"} {
		if _, err := (parser{}).Parse(src, "", ""); err == nil {
			t.Errorf("%q is a template", src)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	for _, language := range []string{"en", "ar-EG"} {
		b.Run(language, func(b *testing.B) {
			v := vars(3)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Render(policy.KindUpcoming, language, v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
