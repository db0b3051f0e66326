package demo

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"duebell/jobs/mail"
	"duebell/store"
)

// lender is the one of the demo. Its site doesn't exist.
var lender = mail.Sender{Name: "Lakeside Lending", Site: "https://my.lakeside-lending.example", Settings: "/preferences"}

// letter is an e-mail that would be sent. Nothing is sent from the demo.
type letter struct {
	ID      string    `json:"id"` // of the notification
	Kind    string    `json:"kind"`
	At      time.Time `json:"at"`
	To      string    `json:"to"`
	Subject string    `json:"subject"`
	Text    string    `json:"text"`

	html string
}

// mailbox is what would be sent of what is in a person's list, newest first, and how many wouldn't and why.
type mailbox struct {
	Letters []letter `json:"letters"`
	Off     int      `json:"off"`     // their kind is switched off for e-mail
	Settled int      `json:"settled"` // came in quiet hours, when e-mail waits, and were settled before anybody would have read it
}

// most letters that are read: a page of the inbox API.
const maxLetters = 50

// readMailbox asks the inbox API for the person's list and preferences, as a client of hers. A notification would go out by e-mail if
// its kind isn't switched off for it, and if it didn't both come in her quiet hours and get settled since.
func (d *Demo) readMailbox(ctx context.Context, m member) (mailbox, error) {
	var page struct{ Items []store.Notification }
	var wishes struct {
		Channels map[string]struct{ Email *bool }
		Locale   *string
	}
	if err := d.asUser(ctx, m.ID, fmt.Sprintf("/v1/notifications?limit=%d", maxLetters), &page); err != nil {
		return mailbox{}, err
	}
	if err := d.asUser(ctx, m.ID, "/v1/preferences", &wishes); err != nil {
		return mailbox{}, err
	}
	p := mail.Person{Name: m.Name, Locale: m.Locale}
	if wishes.Locale != nil {
		p.Locale = *wishes.Locale // hers wins over the lender's
	}
	box := mailbox{Letters: []letter{}}
	for _, n := range page.Items {
		email := wishes.Channels[n.Kind].Email
		switch {
		case email != nil && !*email:
			box.Off++
			continue
		case n.Quiet && n.ResolvedAt != nil:
			box.Settled++
			continue
		}
		message, err := d.mail.Compose(n, p)
		if err != nil {
			return mailbox{}, err
		}
		box.Letters = append(box.Letters, letter{n.ID, n.Kind, n.CreatedAt, m.ID + "@example.com", message.Subject, message.Text, message.HTML})
	}
	slices.SortStableFunc(box.Letters, func(a, b letter) int { return cmp.Compare(b.At.UnixNano(), a.At.UnixNano()) })
	return box, nil
}

// asUser reads something of the inbox API with a token of that user.
func (d *Demo) asUser(ctx context.Context, user, path string, into any) error {
	token, _, err := d.opt.UserToken(user)
	if err != nil {
		return fmt.Errorf("make a token: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.opt.PusherURL()+path, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := d.api.client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 4<<20)).Decode(into); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}

// mailOf is whose mailbox a request is about, and false if it was answered.
func (d *Demo) mailOf(w http.ResponseWriter, r *http.Request) (mailbox, bool) {
	m, err := known(r.URL.Query().Get("user"))
	if err != nil {
		answer(w, http.StatusNotFound, map[string]string{"error": err.Error()})
		return mailbox{}, false
	}
	box, err := d.readMailbox(r.Context(), m)
	if err != nil {
		answer(w, http.StatusBadGateway, map[string]string{"error": err.Error()})
		return mailbox{}, false
	}
	return box, true
}

// letters answers ?user='s mailbox.
func (d *Demo) letters(w http.ResponseWriter, r *http.Request) {
	if box, ok := d.mailOf(w, r); ok {
		answer(w, http.StatusOK, box)
	}
}

// preview is the HTML part of a letter, for a frame of the page. E-mails have their style in their elements, which the page's own
// policy refuses; this one allows that and nothing else: no script, no image, no request, and an origin of its own.
func (d *Demo) preview(w http.ResponseWriter, r *http.Request) {
	box, ok := d.mailOf(w, r)
	if !ok {
		return
	}
	i := slices.IndexFunc(box.Letters, func(l letter) bool { return l.ID == r.PathValue("id") })
	if i < 0 {
		answer(w, http.StatusNotFound, map[string]string{"error": "there is no such letter"})
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, box.Letters[i].html) // the client may be gone
}
