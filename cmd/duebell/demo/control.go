package demo

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"duebell/internal/civil"
	"duebell/internal/money"
)

// Handler serves the page at / and what its buttons do at /demo/. Everything under /demo/ is answered to this machine only, and
// to no other page than this one: it hands out tokens.
func (d *Demo) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /", page())
	mux.HandleFunc("GET /demo/state", d.state)
	mux.HandleFunc("GET /demo/loans", d.loans)
	mux.HandleFunc("GET /demo/mail", d.letters)
	mux.HandleFunc("GET /demo/mail/{id}", d.preview)
	mux.HandleFunc("POST /demo/token", button(d.token))
	mux.HandleFunc("POST /demo/status", button(d.onceImported(d.changeStatus)))
	mux.HandleFunc("POST /demo/pay", button(d.onceImported(d.pay)))
	mux.HandleFunc("POST /demo/jump", button(d.onceImported(d.jump)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/demo/") {
			if why := foreign(r); why != "" {
				answer(w, http.StatusForbidden, map[string]string{"error": why})
				return
			}
		}
		mux.ServeHTTP(w, r)
	})
}

// foreign says why a request isn't one of this page on this machine, "" if it is. A Host that isn't loopback is how a page
// elsewhere reaches 127.0.0.1 under its own name (DNS rebinding).
func foreign(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	switch {
	case err != nil || !peer.Addr().Unmap().IsLoopback():
		return "the demo answers to its own machine only"
	case !loopback(r.Host):
		return "the demo is at 127.0.0.1 or localhost"
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		if u, err := url.Parse(origin); err != nil || u.Host != r.Host {
			return "the demo answers to its own page only"
		}
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return "the demo answers to its own page only"
	}
	return ""
}

// loopback says whether a Host header names this machine.
func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.IsLoopback()
}

// request is the body of a button's call.
type request struct {
	User string `json:"user"`
	Days int    `json:"days"`
}

// refusal is an error for whoever pressed the button.
type refusal string

func (r refusal) Error() string { return string(r) }

// button is a call that changes something. Its content type is one that a form of another page can't send.
func button(do func(context.Context, request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		var body request
		text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<10))
		if err == nil {
			err = json.Unmarshal(text, &body)
		}
		if err != nil || media != "application/json" {
			answer(w, http.StatusBadRequest, map[string]string{"error": "the body must be a JSON object"})
			return
		}
		result, err := do(r.Context(), body)
		if refused, ok := err.(refusal); ok {
			answer(w, http.StatusConflict, map[string]string{"error": string(refused)})
			return
		}
		if err != nil {
			answer(w, http.StatusBadGateway, map[string]string{"error": err.Error()})
			return
		}
		answer(w, http.StatusOK, result)
	}
}

// onceImported has whoever presses a button at once wait for the loan book: nobody has a name before.
func (d *Demo) onceImported(do func(context.Context, request) (any, error)) func(context.Context, request) (any, error) {
	return func(ctx context.Context, body request) (any, error) {
		select {
		case <-d.imported:
			return do(ctx, body)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"error":"the answer can't be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(text) // the client may be gone
}

// did is what a button has done, in a sentence.
type did struct {
	Message string `json:"message"`
}

// known is somebody of the cast.
func known(id string) (member, error) {
	i := slices.IndexFunc(cast, func(m member) bool { return m.ID == id })
	if i < 0 {
		return member{}, refusal("nobody of the cast has this id")
	}
	return cast[i], nil
}

func (d *Demo) state(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, struct {
		Now  time.Time `json:"now"`
		Cast []member  `json:"cast"`
	}{d.opt.Clock.Now(), cast})
}

func (d *Demo) token(_ context.Context, body request) (any, error) {
	m, err := known(body.User)
	if err != nil {
		return nil, err
	}
	token, expires, err := d.opt.UserToken(m.ID)
	if err != nil {
		return nil, fmt.Errorf("make a token: %w", err)
	}
	// What is left counts, not the instant: the page's clock may be wrong.
	return struct {
		Token     string `json:"token"`
		ExpiresIn int    `json:"expires_in_s"`
	}{token, int(time.Until(expires).Seconds())}, nil
}

// application is one that the button moves on, from stage to stage, and then the next one begins.
type application struct {
	number int
	stage  int // of stages: the present one
}

func (a application) id(borrower string) string {
	return fmt.Sprintf("A-%s-%d", strings.ToUpper(borrower), a.number)
}

var stages = []string{"submitted", "under_review", "approved", "disbursed"}

// changeStatus moves an application of a borrower on. An officer moves the first borrower's; he hears of both.
func (d *Demo) changeStatus(ctx context.Context, body request) (any, error) {
	m, err := known(body.User)
	if err != nil {
		return nil, err
	}
	if m.Role == "officer" {
		m = cast[0]
	}
	officer := cast[len(cast)-1]
	d.mu.Lock()
	defer d.mu.Unlock() // the stages of an application are told in order
	a, ok := d.applications[m.ID]
	if !ok {
		a = &application{number: 1, stage: -1}
		d.applications[m.ID] = a
	}
	next := application{a.number, a.stage + 1}
	from := ""
	switch {
	case next.stage == len(stages):
		next = application{a.number + 1, 0}
	case a.stage >= 0:
		from = stages[a.stage]
	}
	id := next.id(m.ID)
	err = d.api.addChange(ctx, changeRow{ID: id + d.mark + "-" + stages[next.stage], ApplicationID: id, BorrowerID: m.ID, From: from, To: stages[next.stage],
		OccurredAt: d.opt.Clock.Now(), Notify: []string{officer.ID}})
	if err != nil {
		return nil, err
	}
	*a = next
	return did{fmt.Sprintf("Application %s of %s is now: %s.", id, m.Name, strings.ReplaceAll(stages[next.stage], "_", " "))}, nil
}

// pay pays half of what a borrower has to pay next, in whole euros, and the rest when that was done before.
func (d *Demo) pay(ctx context.Context, body request) (any, error) {
	m, err := known(body.User)
	if err != nil {
		return nil, err
	}
	now := d.opt.Clock.Now()
	zone, err := civil.LoadZone(m.TimeZone)
	if err != nil {
		return nil, err
	}
	debt, ok := d.ledger.next(m.ID, civil.Of(now.In(zone)))
	if !ok {
		return nil, refusal(m.Name + " has nothing to pay at the moment.")
	}
	const euro = 100
	amount := debt.Outstanding
	if debt.Paid == 0 && amount > euro {
		amount = (amount/2 + euro - 1) / euro * euro
	}
	s := step{at: now, loan: debt.loan, paid: amount, payment: &paymentRow{ID: "pay-" + rand.Text(), LoanID: debt.loan.ID,
		Installment: debt.Number, Amount: money.Decimal(amount, digits), PaidAt: now}}
	if err := d.tell(ctx, s); err != nil {
		return nil, err
	}
	if debt.last && amount == debt.Outstanding {
		if err := d.tell(ctx, step{at: now, loan: debt.loan, head: debt.loan.head(closed, now)}); err != nil {
			return nil, err
		}
	}
	return did{fmt.Sprintf("Paid %s of %s %s due on %s (%s %s).", money.Decimal(amount, digits), money.Decimal(debt.Outstanding, digits), currency,
		debt.DueDate, debt.loan.Product, debt.loan.ID)}, nil
}

const maxJump = 31 // days

// A jump goes in strides with pauses between, so that the story is told in order and the runs on the way find what is due.
const (
	stride      = 3 * time.Hour
	stridePause = 50 * time.Millisecond
)

func (d *Demo) jump(ctx context.Context, body request) (any, error) {
	if body.Days < 1 || body.Days > maxJump {
		return nil, refusal(fmt.Sprintf("a jump is from 1 to %d days", maxJump))
	}
	to := d.opt.Clock.Now().AddDate(0, 0, body.Days)
	for now := d.opt.Clock.Now(); now.Before(to); now = d.opt.Clock.Now() {
		next := now.Add(stride)
		if next.After(to) {
			next = to
		}
		if err := d.opt.Clock.Jump(ctx, next); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(stridePause):
		}
	}
	return did{fmt.Sprintf("Jumped %d days ahead.", body.Days)}, nil
}
