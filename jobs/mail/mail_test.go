package mail

import (
	"net/mail"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"duebell/internal/policy"
	"duebell/jobs/text"
	"duebell/store"
)

func setup(t rapid.TB) *Composer {
	t.Helper()
	c, err := New(Sender{Name: "Lakeside Lending", Site: "https://portal.lakeside.example/", Settings: "/preferences"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func compose(t rapid.TB, n store.Notification, p Person) Message {
	t.Helper()
	m, err := setup(t).Compose(n, p)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func address(s string) *string { return &s }

func TestAReminder(t *testing.T) {
	m := compose(t, store.Notification{Kind: policy.KindOverdue, Title: "Payment of €60.00 is 1 day overdue",
		Body: "Hello Ana, the payment of €60.00 was due on 10 March 2026.", URL: address("/loans/L-17")}, Person{"Ana", "en-GB"})
	if m.Subject != "Payment of €60.00 is 1 day overdue" {
		t.Errorf("subject %q", m.Subject)
	}
	const want = `Payment of €60.00 is 1 day overdue

Hello Ana, the payment of €60.00 was due on 10 March 2026.

See the details:
https://portal.lakeside.example/loans/L-17

-- 
Lakeside Lending

You get this e-mail because you have a loan or an application with Lakeside Lending, and e-mail is switched on for news of this kind.
To get fewer e-mails or none, change it here:
https://portal.lakeside.example/preferences

We never ask for your password or card number by e-mail.
`
	if m.Text != want {
		t.Errorf("text:\n%s\nwant:\n%s", m.Text, want)
	}
	if n := strings.Count(m.HTML, "Hello"); n != 1 {
		t.Errorf("%d greetings in the HTML", n)
	}
	for _, part := range []string{`lang="en" dir="ltr"`, `href="https://portal.lakeside.example/loans/L-17"`, `href="https://portal.lakeside.example/preferences"`} {
		if !strings.Contains(m.HTML, part) {
			t.Errorf("the HTML has no %s", part)
		}
	}
}

func TestGreeting(t *testing.T) {
	for _, c := range []struct {
		kind, name, locale, want string
	}{
		{"card.shipped", "Ana", "en", "Hello Ana,\n\n"},
		{"card.shipped", "", "en", "Hello,\n\n"},
		{"card.shipped", " \n ", "cs-CZ", "Dobrý den,\n\n"},
		{"card.shipped", "Jakub Vrána", "cs", "Dobrý den, Jakub Vrána,\n\n"},
		{"card.shipped", "Lucía", "es-MX", "Hola, Lucía:\n\n"},
		{"card.shipped", "نور", "ar-EG", "مرحبًا \u2068نور\u2069،\n\n"},
		{"card.shipped", "अर्जुन", "hi-IN", "नमस्ते अर्जुन,\n\n"},
		{"card.shipped", "Ana", "fr", "Hello Ana,\n\n"},
		{"card.shipped", "Ana", "no such locale", "Hello Ana,\n\n"},
		{"card.shipped", "Ana\r\nBcc: all@example.com", "en", "Hello Ana Bcc: all@example.com,\n\n"},
		{policy.KindUpcoming, "Ana", "en", "Title\n\n"}, // its body greets
	} {
		m := compose(t, store.Notification{Kind: c.kind, Title: "Title", Body: "Body."}, Person{c.name, c.locale})
		if !strings.HasPrefix(m.Text, c.want) {
			t.Errorf("%s to %q in %s begins with %.40q, want %q", c.kind, c.name, c.locale, m.Text, c.want)
		}
	}
}

// TestWhatDuebellWritesGreetsItself is why the frame leaves the greeting out there.
func TestWhatDuebellWritesGreetsItself(t *testing.T) {
	for _, kind := range policy.Kinds() {
		v := text.Vars{Name: "Ana", Product: "Car loan", LoanID: "L-17", Amount: "€60.00", Count: 2, ApplicationID: "A-9", To: "approved"}
		v.DueDate.Year, v.DueDate.Month, v.DueDate.Day = 2026, 3, 10
		v.PreviousDueDate = v.DueDate
		v.Days = map[string]int{policy.KindUpcoming: 3, policy.KindOverdue: -3}[kind]
		if _, body, err := text.Render(kind, "en", v); err != nil || !strings.HasPrefix(body, "Hello Ana, ") {
			t.Errorf("%s: %q, %v", kind, body, err)
		}
	}
}

func TestSubjectIsOneLine(t *testing.T) {
	for _, c := range []struct{ title, want string }{
		{"Approved\r\nBcc: everybody@example.com", "Approved Bcc: everybody@example.com"},
		{"Approved\nSubject: other\n\n<html>", "Approved Subject: other <html>"},
		{"a\x00b\x1b[31mc\u0085d\u2028e\u2029f\vg\fh", "a b [31mc d e f g h"},
		{"  much \t space  ", "much space"},
		{"", "A message from Lakeside Lending"},
		{"\r\n \t", "A message from Lakeside Lending"},
		{"\u202Egnp.exe", "gnp.exe"},
		{"\u2068€60\u2069 due", "\u2068€60\u2069 due"},
		{"bad \xff\xfe bytes", "bad \uFFFD\uFFFD bytes"},
		{strings.Repeat("ž", 200), strings.Repeat("ž", 200)},
		{strings.Repeat("ž", 201), strings.Repeat("ž", 199) + "…"},
	} {
		if m := compose(t, store.Notification{Title: c.title}, Person{}); m.Subject != c.want {
			t.Errorf("%q is %q, want %q", c.title, m.Subject, c.want)
		}
	}
}

func TestLinks(t *testing.T) {
	c := setup(t)
	for address, want := range map[string]string{
		"/loans/L-1":                    "https://portal.lakeside.example/loans/L-1",
		"/loans/L-1?pay=1#now":          "https://portal.lakeside.example/loans/L-1?pay=1#now",
		"/../../etc":                    "https://portal.lakeside.example/etc",
		"https://elsewhere.example/a?b": "https://elsewhere.example/a?b",
		"":                              "",
		"//evil.example/":               "",
		"/\\evil.example/":              "",
		"http://elsewhere.example/":     "",
		"HTTPS:evil.example":            "",
		"https:///path":                 "",
		"https://user:pw@evil.example/": "",
		"javascript:alert(1)":           "",
		"data:text/html,x":              "",
		"loans/L-1":                     "",
		"/a\nb":                         "",
		"/a b":                          "",
		"\u202e/a":                      "",
		"https://e.example/%zz":         "",
	} {
		if got := c.link(address); got != want {
			t.Errorf("%q leads to %q, want %q", address, got, want)
		}
		m := compose(t, store.Notification{Title: "t", URL: &address}, Person{})
		if has := strings.Count(m.HTML, "<a "); (has == 2) != (want != "") {
			t.Errorf("%q: %d links", address, has)
		}
	}
}

var tag = regexp.MustCompile(`<(/?[a-z0-9]+|!doctype)((?:\s+[a-z-]+(?:="[^"]*")?)*)\s*>`)
var value = regexp.MustCompile(`="[^"]*"`)

// tags are the elements of a document and the names of their attributes. Whatever else has a character of markup in it fails.
func tags(t rapid.TB, doc string) string {
	t.Helper()
	if rest := tag.ReplaceAllString(doc, ""); strings.ContainsAny(rest, "<>\"") {
		t.Errorf("markup outside of tags: %s", rest)
	}
	return value.ReplaceAllString(strings.Join(tag.FindAllString(doc, -1), ""), "")
}

func TestNothingBecomesMarkupOrAHeader(t *testing.T) {
	harmless := store.Notification{Kind: "loan.other", Title: "a", Body: "b"}
	without := tags(t, compose(t, harmless, Person{"d", "en"}).HTML)
	harmless.URL = address("/c")
	with := tags(t, compose(t, harmless, Person{"d", "en"}).HTML)
	pieces := []string{"<script>alert(1)</script>", "</title>", "</p></td>", `" onmouseover="x`, "'", "<!--", "-->", "]]>", "<img src=x onerror=y>",
		"{{.}}", "&lt;", "&#60;", "<style>", "\x00", "\v", "javascript:", "{}", "url(x)", "=?utf-8?q?x?=", "\xff"}
	hostile := func(more ...string) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			return "x" + strings.Join(rapid.SliceOfN(rapid.SampledFrom(append(more, pieces...)), 1, 6).Draw(t, "pieces"), "")
		})
	}
	const another = "\r\nBcc: a@b.example\r\n\r\n"
	rapid.Check(t, func(t *rapid.T) {
		url := "/" + hostile(another).Draw(t, "url")
		m := compose(t, store.Notification{Kind: "loan.other", Title: hostile(another).Draw(t, "title"), Body: hostile().Draw(t, "body"), URL: &url},
			Person{Name: hostile(another).Draw(t, "name"), Locale: rapid.SampledFrom(text.Languages()).Draw(t, "locale")})
		if got := tags(t, m.HTML); got != with && got != without {
			t.Errorf("markup %s, want %s", got, with)
		}
		if strings.ContainsAny(m.Subject, "\r\n\x00") || strings.ContainsAny(m.Text, "\r\x00") || !utf8.ValidString(m.Subject+m.Text+m.HTML) {
			t.Errorf("subject %q, text %q", m.Subject, m.Text)
		}
		read, err := mail.ReadMessage(strings.NewReader("Subject: " + m.Subject + "\n\n" + m.Text))
		if err != nil || len(read.Header) != 1 {
			t.Errorf("%q makes the headers %v, %v", m.Subject, read, err)
		}
	})
}

func TestBodyKeepsItsLines(t *testing.T) {
	m := compose(t, store.Notification{Title: "t", Body: "One.\r\nTwo.\n\n\n  Three.  \r\n"}, Person{})
	if !strings.Contains(m.Text, "\nOne.\nTwo.\n\nThree.\n\n-- \n") {
		t.Errorf("text %q", m.Text)
	}
	if !strings.Contains(m.HTML, "One.\nTwo.</p>") || !strings.Contains(m.HTML, "white-space:pre-line") || !strings.Contains(m.HTML, ">Three.</p>") {
		t.Errorf("html %s", m.HTML)
	}
}

func TestRightToLeft(t *testing.T) {
	m := compose(t, store.Notification{Title: "دفعة مستحقة اليوم", Body: "نص.", URL: address("/loans/L-1")}, Person{"Ana", "ar-EG"})
	// Mail programs take html and body away: the language and direction are on an element of the text too.
	for _, part := range []string{`<html lang="ar" dir="rtl">`, "lang=\"ar\" dir=\"rtl\">\n<table ", `<h1 dir="auto"`, "<bdi>Lakeside Lending</bdi>", "عرض التفاصيل", "\u2068Lakeside Lending\u2069", "\u2068Ana\u2069"} {
		if !strings.Contains(m.HTML, part) {
			t.Errorf("the HTML has no %s", part)
		}
	}
}

func TestEveryLanguageIsComplete(t *testing.T) {
	all, err := load()
	if err != nil {
		t.Fatal(err)
	}
	for _, language := range text.Languages() {
		w := reflect.ValueOf(*all[language])
		for i := range w.NumField() {
			name, value := w.Type().Field(i).Name, w.Field(i).String()
			holes := map[string]int{"Greeting": 1, "Untitled": 1, "Why": 1}[name]
			if value == "" || strings.Count(value, "{}") != holes {
				t.Errorf("%s of %s is %q", name, language, value)
			}
		}
		if dir := all[language].Dir; (dir == "rtl") != (language == "ar") || dir != "ltr" && dir != "rtl" {
			t.Errorf("%s runs %q", language, dir)
		}
		if got := text.Locale(language); got != language {
			t.Errorf("jobs/text writes %s for %s", got, language)
		}
	}
	for locale, want := range map[string]string{"cs-CZ": "cs", "AR_eg": "ar", "hi-IN": "hi", "sk": "en", "": "en"} {
		if got := wordsFor(locale).lang; got != want && !(locale == "sk" && got == "cs") {
			t.Errorf("%q gets the words of %s, want %s", locale, got, want)
		}
	}
}

func TestSendersAreChecked(t *testing.T) {
	for _, c := range []struct {
		sender Sender
		ok     bool
	}{
		{Sender{"L", "https://l.example", "/s"}, true},
		{Sender{"L", "http://localhost:8080", "/s"}, true},
		{Sender{"L", "http://127.0.0.1:8080", "/s"}, true},
		{Sender{"L", "http://l.example", "/s"}, false},
		{Sender{"L", "https://u:p@l.example", "/s"}, false},
		{Sender{"L", "l.example", "/s"}, false},
		{Sender{"L", "", "/s"}, false},
		{Sender{"L", "https://l.example", ""}, false},
		{Sender{"L", "https://l.example", "//evil.example"}, false},
		{Sender{" \n", "https://l.example", "/s"}, false},
	} {
		if _, err := New(c.sender); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.sender, err)
		}
	}
}

func BenchmarkCompose(b *testing.B) {
	c := setup(b)
	n := store.Notification{Kind: policy.KindOverdue, Title: "Payment of €60.00 is 1 day overdue", Body: "Hello Ana, it was due on 10 March 2026.", URL: address("/loans/L-17")}
	for b.Loop() {
		if _, err := c.Compose(n, Person{"Ana", "en-GB"}); err != nil {
			b.Fatal(err)
		}
	}
}
