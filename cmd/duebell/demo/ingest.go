package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// target is whom the story is told: the ingest API.
type target interface {
	putLoan(context.Context, loanRow) error
	putSchedule(ctx context.Context, loanID string, rows []installmentRow, asOf time.Time) error
	addPayment(context.Context, paymentRow) error
	addChange(context.Context, changeRow) error
}

// ingestAPI calls the scheduler as a loan system does.
type ingestAPI struct {
	url    func() string // like http://127.0.0.1:8090
	token  func() (string, error)
	client *http.Client
}

func (a *ingestAPI) putLoan(ctx context.Context, l loanRow) error {
	id := l.ID
	l.ID = "" // it is in the path
	return a.send(ctx, http.MethodPut, "/v1/loans/"+url.PathEscape(id), l, time.Time{})
}

func (a *ingestAPI) putSchedule(ctx context.Context, loanID string, rows []installmentRow, asOf time.Time) error {
	plain := make([]installmentRow, len(rows)) // the loan is in the path and as_of in the header
	for i, r := range rows {
		r.LoanID, r.AsOf = "", nil
		plain[i] = r
	}
	return a.send(ctx, http.MethodPut, "/v1/loans/"+url.PathEscape(loanID)+"/installments", plain, asOf)
}

func (a *ingestAPI) addPayment(ctx context.Context, p paymentRow) error {
	return a.send(ctx, http.MethodPost, "/v1/payments", p, time.Time{})
}

func (a *ingestAPI) addChange(ctx context.Context, c changeRow) error {
	return a.send(ctx, http.MethodPost, "/v1/status-changes", c, time.Time{})
}

// importRows sends rows as NDJSON. All of them must be accepted.
func importRows[T any](ctx context.Context, a *ingestAPI, resource string, rows []T) error {
	var body bytes.Buffer
	lines := json.NewEncoder(&body) // ends each value with a line break
	for _, row := range rows {
		if err := lines.Encode(row); err != nil {
			return fmt.Errorf("encode %s: %w", resource, err)
		}
	}
	answer, err := a.call(ctx, http.MethodPost, "/v1/import/"+resource, "application/x-ndjson", body.Bytes(), time.Time{})
	if err != nil {
		return err
	}
	var result struct {
		Rejected int
		Errors   []struct {
			Line           int
			Field, Message string
		}
	}
	if err := json.Unmarshal(answer, &result); err != nil {
		return fmt.Errorf("import %s: %w", resource, err)
	}
	if result.Rejected > 0 {
		return fmt.Errorf("import %s: %d rows rejected: %+v", resource, result.Rejected, result.Errors)
	}
	return nil
}

func (a *ingestAPI) send(ctx context.Context, method, path string, row any, asOf time.Time) error {
	body, err := json.Marshal(row)
	if err != nil {
		return fmt.Errorf("encode %s %s: %w", method, path, err)
	}
	_, err = a.call(ctx, method, path, "application/json", body, asOf)
	return err
}

// tryAgain is how long a call waits before it is made again, tries how often it is.
const (
	tryAgain = 200 * time.Millisecond
	tries    = 50
)

// call makes a call, and makes it again while the programs aren't there or can't do their work: all calls may come twice.
func (a *ingestAPI) call(ctx context.Context, method, path, media string, body []byte, asOf time.Time) ([]byte, error) {
	for try := 1; ; try++ {
		answer, status, err := a.once(ctx, method, path, media, body, asOf)
		switch {
		case err == nil && status < 300:
			return answer, nil
		case err == nil && status < 500:
			return nil, fmt.Errorf("%s %s: %d %s", method, path, status, bytes.TrimSpace(answer))
		case err == nil:
			err = fmt.Errorf("status %d", status)
		}
		if try == tries {
			return nil, fmt.Errorf("%s %s: %w", method, path, err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(tryAgain):
		}
	}
}

func (a *ingestAPI) once(ctx context.Context, method, path, media string, body []byte, asOf time.Time) ([]byte, int, error) {
	token, err := a.token()
	if err != nil {
		return nil, 0, fmt.Errorf("service token: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, method, a.url()+path, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", media)
	if !asOf.IsZero() {
		r.Header.Set("Duebell-As-Of", asOf.Format(time.RFC3339Nano))
	}
	response, err := a.client.Do(r)
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return answer, response.StatusCode, err
}
