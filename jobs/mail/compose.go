package mail

import (
	"bytes"
	_ "embed"
	"fmt"
	htmltemplate "html/template"
	"net/url"
	"slices"
	"strings"
	texttemplate "text/template"

	"duebell/internal/policy"
	"duebell/store"
)

var (
	//go:embed message.html
	htmlSource string
	//go:embed message.txt
	textSource string

	htmlLayout = htmltemplate.Must(htmltemplate.New("message.html").Parse(htmlSource))
	textLayout = texttemplate.Must(texttemplate.New("message.txt").Parse(textSource))
)

// Person is whom an e-mail is for.
type Person struct {
	Name   string // "" when unknown
	Locale string // BCP 47; English where there are no texts in it
}

// Message is an e-mail without its addresses.
type Message struct {
	// Subject is one line of UTF-8 without control characters, at most 200 characters long, and never empty. A header needs it encoded (RFC 2047).
	Subject string
	Text    string // lines end with \n
	HTML    string // a whole document, which loads nothing
}

// Sender is the lender, as the e-mails name it.
type Sender struct {
	Name string
	// Site is where the lender's customers log in: https, or http on this machine. Links that are paths lead there.
	Site string
	// Settings is the path where people choose what they get.
	Settings string
}

// Composer makes the e-mails of one lender. It may be used concurrently.
type Composer struct {
	name     string
	site     *url.URL
	settings string
}

// New checks what the sender says of itself.
func New(s Sender) (*Composer, error) {
	site, err := url.Parse(s.Site)
	if err != nil {
		return nil, fmt.Errorf("the sender's site: %w", err)
	}
	if !secure(site) || site.User != nil {
		return nil, fmt.Errorf("the sender's site: %q is not an https address", s.Site)
	}
	c := &Composer{name: line(s.Name, maxSubject), site: site}
	if c.name == "" {
		return nil, fmt.Errorf("the sender has no name")
	}
	if c.settings = c.link(s.Settings); c.settings == "" {
		return nil, fmt.Errorf("the sender's settings: %q is not a path of its site", s.Settings)
	}
	return c, nil
}

// content is what the two layouts show.
type content struct {
	Words      *words
	Lang, Dir  string
	Lender     string
	Greeting   string // "" where the body has its own
	Title      string
	Paragraphs []string
	Link       string // "" if there is none
	Settings   string
}

// Compose makes the e-mail of a notification.
func (c *Composer) Compose(n store.Notification, p Person) (Message, error) {
	w := wordsFor(p.Locale)
	v := content{
		Words: w, Lang: w.lang, Dir: w.Dir, Lender: c.name, Settings: c.settings,
		Title: line(n.Title, maxSubject), Paragraphs: paragraphs(n.Body),
	}
	if v.Title == "" {
		v.Title = fill(w.Untitled, c.name)
	}
	if n.URL != nil {
		v.Link = c.link(*n.URL)
	}
	// What Duebell writes itself begins with a greeting.
	if !slices.Contains(policy.Kinds(), n.Kind) {
		if name := line(p.Name, maxName); name != "" {
			v.Greeting = fill(w.Greeting, name)
		} else {
			v.Greeting = w.GreetingNobody
		}
	}
	m := Message{Subject: v.Title}
	var html, text bytes.Buffer
	if err := htmlLayout.Execute(&html, v); err != nil {
		return Message{}, fmt.Errorf("e-mail of %s: %w", n.ID, err)
	}
	if err := textLayout.Execute(&text, v); err != nil {
		return Message{}, fmt.Errorf("e-mail of %s: %w", n.ID, err)
	}
	m.HTML, m.Text = html.String(), text.String()
	return m, nil
}

// Why is why a person gets it, for the layouts.
func (v content) Why() string { return fill(v.Words.Why, v.Lender) }

// fill puts a value where a text has {}.
func fill(text, value string) string { return strings.Replace(text, "{}", value, 1) }
