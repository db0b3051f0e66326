package ingest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"

	"duebell/internal/testenv"
	"duebell/store"
)

// loans makes as many loans as an import of installments needs.
func (s *service) loans(n int) {
	s.t.Helper()
	s.book()
	rows := make([]string, n)
	for i := range rows {
		rows[i] = fmt.Sprintf(`{"id":"l%05d","borrower_id":"ana","product":"car","currency":"EUR","status":"active"}`, i)
	}
	s.ok(200, "POST", "/v1/import/loans", strings.Join(rows, "\n"), "Content-Type", "application/x-ndjson")
}

// schedulesOf are two installments a loan.
func schedulesOf(n int) []string {
	var rows []string
	for i := range n {
		for number := range 2 {
			rows = append(rows, fmt.Sprintf(`{"loan_id":"l%05d","number":%d,"due_date":"2026-05-%02d","amount_due":"10","amount_paid":"0"}`, i, number+1, number+1))
		}
	}
	return rows
}

type imported struct {
	Import             string
	Lines              int
	Complete           *bool
	Accepted, Rejected int
	Errors             []RowError
}

// cutOff sends the beginning of a body and breaks the connection, and waits until the program has seen it.
func (s *service) cutOff(path, body string) {
	s.t.Helper()
	u, _ := url.Parse(s.url)
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-ndjson\r\nContent-Length: 100000000\r\n\r\n%s",
		path, s.token[ScopeIngest], body)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		s.t.Fatal(err)
	}
	if text, err := io.ReadAll(conn); err != nil || !bytes.HasPrefix(text, []byte("HTTP/1.1 400 ")) {
		s.t.Fatalf("%v %.300s", err, text)
	}
}

// TestImportGoesOnWhereItEnded: whatever is sent again, each row is taken once, each bad one is named once, and no schedule is
// written in halves.
func TestImportGoesOnWhereItEnded(t *testing.T) {
	databases(t, func(t *testing.T, s *service) {
		const loans = 1300
		s.loans(loans)
		rows := schedulesOf(loans)
		rows[7] = `{"loan_id":"l00003","number":2,"due_date":"soon","amount_due":"10","amount_paid":"0"}` // line 8: with 7, one schedule
		ndjson := []string{"Content-Type", "application/x-ndjson"}
		path := "/v1/import/installments?import=book-1"
		ask := func() imported { t.Helper(); return decode[imported](t, s.ok(200, "GET", path, ``).body) }
		whole := strings.Join(rows, "\n") + "\n"

		s.ok(404, "GET", path, ``)
		s.ok(422, "GET", "/v1/import/installments", ``)
		s.cutOff(path, strings.Join(rows[:1503], "\n")+"\n") // in the middle of a loan
		at := ask()
		if at.Lines != 1502 || *at.Complete || at.Accepted != 1500 || at.Rejected != 2 || len(at.Errors) != 2 {
			t.Fatalf("after the first cut: %+v", at)
		}
		if got := s.installments("l00751"); got != 0 {
			t.Errorf("half a schedule was written: %d", got)
		}

		// The rest by itself, which breaks off as well.
		s.cutOff(path+"&from=1502", strings.Join(rows[1502:2204], "\n")+"\n")
		if at = ask(); at.Lines != 2202 || at.Accepted != 2200 {
			t.Fatalf("after the second cut: %+v", at)
		}
		if p := s.ok(409, "POST", path+"&from=2300", rows[2300], ndjson...).problem(t); p.Code != "import_gap" {
			t.Errorf("a gap: %+v", p)
		}
		if p := s.ok(409, "POST", path, rows[5]+"\n"+whole, ndjson...).problem(t); p.Code != "id_reused" {
			t.Errorf("other lines under the same id: %+v", p)
		}

		// Everything once more, and again when it is complete.
		for range 2 {
			got := decode[imported](t, s.ok(200, "POST", path, whole, ndjson...).body)
			if got.Import != "book-1" || got.Lines != 2*loans || !*got.Complete || got.Accepted != 2*loans-2 || got.Rejected != 2 {
				t.Errorf("complete: %+v", got)
			}
			lines := []int{}
			for _, e := range got.Errors {
				lines = append(lines, e.Line)
			}
			if !slices.Equal(lines, []int{7, 8}) {
				t.Errorf("bad lines %v", lines)
			}
		}
		if at = ask(); !*at.Complete || at.Lines != 2*loans {
			t.Errorf("at the end: %+v", at)
		}
		if p := s.ok(409, "POST", path, strings.Join(rows[:100], "\n"), ndjson...).problem(t); p.Code != "id_reused" {
			t.Errorf("fewer lines: %+v", p)
		}
		for i := range loans {
			want := 2
			if i == 3 {
				want = 0
			}
			if got := s.installments(fmt.Sprintf("l%05d", i)); got != want {
				t.Fatalf("loan %d has %d installments", i, got)
			}
		}
	})
}

func (s *service) installments(loan string) int {
	s.t.Helper()
	e, err := s.db.Explain(s.t.Context(), store.ExplainQuery{LoanID: loan})
	if err != nil {
		s.t.Fatal(err)
	}
	return len(e.Installments)
}

// TestImportInOtherHands: a request that was taken for dead writes nothing once another goes on with its import.
func TestImportInOtherHands(t *testing.T) {
	databases(t, func(t *testing.T, s *service) {
		first, err := s.db.BeginImport(t.Context(), Users, "x")
		if err != nil {
			t.Fatal(err)
		}
		s.ok(200, "POST", "/v1/import/users?import=x", user1("u1"), "Content-Type", "application/x-ndjson")
		late := store.ImportOptions{Mark: func([]store.Rejected) store.ImportMark { return first }}
		_, err = s.db.ImportUsers(t.Context(), []store.User{{ID: "late", Name: "Late", TimeZone: "UTC", Locale: "en"}}, late)
		if err == nil {
			t.Error("the first request wrote on")
		}
		if _, err := s.db.GetUser(t.Context(), "late"); err == nil {
			t.Error("what the first request wrote has stayed")
		}
	})
}

// TestUnreadableLinesOfASchedule: what can't be read may be an installment of the loan beside it, so that isn't written without it.
func TestUnreadableLinesOfASchedule(t *testing.T) {
	s := setup(t, testenv.SQLite(t), nil)
	s.loans(4)
	rows := schedulesOf(4)
	rows = slices.Insert(rows, 4, `{"loan_id":"l00001","number":3,`) // behind the second loan
	rows = slices.Insert(rows, 8, `nonsense`)                        // between the rows of the fourth
	got := decode[imported](t, s.ok(200, "POST", "/v1/import/installments", strings.Join(rows, "\n"), "Content-Type", "application/x-ndjson").body)
	if got.Accepted != 2 || got.Rejected != 8 {
		t.Errorf("%+v", got)
	}
	for i, want := range []int{2, 0, 0, 0} {
		if n := s.installments(fmt.Sprintf("l%05d", i)); n != want {
			t.Errorf("loan %d has %d installments", i, n)
		}
	}
}

// TestAFileIsWrittenWhole: a bad row at the end of many takes all of them back, and whatever else is bad behind it is named too.
func TestAFileIsWrittenWhole(t *testing.T) {
	databases(t, func(t *testing.T, s *service) {
		const loans = 1200
		s.loans(loans)
		var b strings.Builder
		b.WriteString("loan_id,number,due_date,amount_due,amount_paid\n")
		for i := range loans {
			for number := range 2 {
				fmt.Fprintf(&b, "l%05d,%d,2026-05-%02d,10,0\n", i, number+1, number+1)
			}
		}
		good := b.String()
		bad := good + "nobody,1,2026-05-01,10,0\nl00001,3,2026-05-03,10,0\n"
		load := func(text string) ([]CSVResult, error) {
			return ImportCSV(context.Background(), s.db, []CSVFile{{Installments, "I.csv", strings.NewReader(text)}}, CSVOptions{})
		}
		results, err := load(bad)
		if err == nil || results[0].Written || results[0].Accepted != 0 || results[0].Rejected != 2 || len(results[0].Errors) != 2 {
			t.Errorf("%v, %+v", err, results)
		}
		if n := s.installments("l00000"); n != 0 {
			t.Errorf("%d installments of a file with bad rows", n)
		}
		if results, err = load(good); err != nil || !results[0].Written || results[0].Accepted != 2*loans {
			t.Errorf("%v, %+v", err, results)
		}
		if n := s.installments("l01199"); n != 2 {
			t.Errorf("%d installments of a good file", n)
		}
	})
}

// A loan whose rows come in two places isn't left with the second half of its schedule, also where the first was settled by an earlier
// request. Another import replaces it.
func TestALoanComesOnceInAnImport(t *testing.T) {
	databases(t, func(t *testing.T, s *service) {
		s.loans(4)
		ndjson := []string{"Content-Type", "application/x-ndjson"}
		row := func(loan, number int) string {
			return fmt.Sprintf(`{"loan_id":"l%05d","number":%d,"due_date":"2026-05-%02d","amount_due":"10","amount_paid":"0"}`, loan, number, number)
		}
		path := "/v1/import/installments?import=book-1"
		first := strings.Join([]string{row(0, 1), row(0, 2), row(1, 1), row(2, 1)}, "\n") + "\n"
		s.cutOff(path, first) // loan 2 may go on: it isn't written
		done := decode[imported](t, s.ok(200, "GET", path, ``).body)
		if done.Lines != 3 {
			t.Fatalf("%+v", done)
		}
		rest := strings.Join([]string{row(2, 1), row(0, 3), row(3, 1)}, "\n")
		got := decode[imported](t, s.ok(200, "POST", path+"&from=3", rest, ndjson...).body)
		if got.Accepted != 5 || got.Rejected != 1 || len(got.Errors) != 1 || got.Errors[0].Line != 5 || got.Errors[0].Field != "loan_id" ||
			!strings.Contains(got.Errors[0].Message, "stand together") {
			t.Errorf("%+v", got)
		}
		if n := s.installments("l00000"); n != 2 {
			t.Errorf("the loan has %d installments of the 2 that came first", n)
		}
		for _, path := range []string{"/v1/import/installments?import=book-2", "/v1/import/installments", "/v1/import/installments"} {
			got := decode[imported](t, s.ok(200, "POST", path, row(0, 3), ndjson...).body)
			if got.Accepted != 1 || got.Rejected != 0 {
				t.Errorf("%s: %+v", path, got)
			}
		}
		if n := s.installments("l00000"); n != 1 {
			t.Errorf("another import left %d installments of the 1 that it has", n)
		}
	})
}
