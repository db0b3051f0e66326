package ingest

import (
	"context"
	"errors"
	"net/http"
	"time"

	"duebell/store"
)

// user reads a person's row.
func user(f *fields, id string) store.User {
	u := store.User{
		ID:       id,
		Name:     f.line("name", true, maxName),
		Email:    f.checked("email", false, checkEmail),
		TimeZone: f.checked("time_zone", true, checkZone),
	}
	u.Locale = f.checked("locale", true, func(s string) (err error) {
		_, err = canonicalLocale(s)
		return err
	})
	if u.Locale != "" {
		u.Locale, _ = canonicalLocale(u.Locale)
	}
	return u
}

type userAnswer struct {
	ID       string     `json:"id"`
	Name     string     `json:"name"`
	Email    string     `json:"email,omitempty"`
	TimeZone string     `json:"time_zone"`
	Locale   string     `json:"locale"`
	AsOf     *time.Time `json:"as_of,omitempty"`
}

func (a *api) putUser(w http.ResponseWriter, r *http.Request) error {
	var bad problems
	f, err := a.row(r, &bad)
	if err != nil {
		return err
	}
	u := user(f, pathID(r, f, &bad))
	u.AsOf = a.asOf(r, f, &bad)
	f.done()
	if err := bad.refuse(); err != nil {
		return err
	}
	_, err = a.Store.GetUser(r.Context(), u.ID)
	isNew := errors.Is(err, store.ErrNotFound)
	if err != nil && !isNew {
		return err
	}
	if err := a.Store.PutUser(r.Context(), u); err != nil {
		return err
	}
	return write(w, created(isNew), userAnswer{u.ID, u.Name, u.Email, u.TimeZone, u.Locale, optionalTime(u.AsOf)})
}

// eraseTime is how long an erasure may take, which reads the outbox whole.
const eraseTime = 10 * time.Minute

// deleteUser erases a person: name, address, preferences and inbox. Someone who isn't known is erased already. It goes on when its caller is
// gone: of a large outbox each try would begin anew.
func (a *api) deleteUser(w http.ResponseWriter, r *http.Request) error {
	var bad problems
	id := pathID(r, nil, &bad)
	if err := bad.refuse(); err != nil {
		return err
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(eraseTime + time.Minute)) // not every writer has one
	err := within(context.WithoutCancel(r.Context()), eraseTime, func(ctx context.Context) error { return a.Store.EraseUser(ctx, id) })
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
