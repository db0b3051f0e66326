package ingest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"duebell/internal/testenv"
	"duebell/store"
)

func itoa(n int) string { return strconv.Itoa(n) }

const (
	usersCSV        = "id,name,email,time_zone,locale\nu1,Ana,ana@example.org,Europe/Prague,cs\nu2,\"Novák, Jan\",,UTC,en\n"
	loansCSV        = "id,borrower_id,product,currency,digits,status,parties\nl1,u1,car,EUR,,active,\nl2,u2,house,UGX,2,active,\"[{\"\"user_id\"\":\"\"u1\"\",\"\"role\"\":\"\"guarantor\"\",\"\"notify\"\":[\"\"repayment.overdue\"\"]}]\"\n"
	installmentsCSV = "loan_id,number,due_date,amount_due,amount_paid,outstanding\nl1,1,2026-03-10,100.00,0,\nl1,2,2026-04-10,100.00,0,90\nl2,1,2026-03-10,5000.00,0,\n"
	paymentsCSV     = "id,loan_id,installment,amount,paid_at\np1,l1,,40.00,2026-03-01T10:00:00Z\np2,l2,1,1.5,2026-03-01T10:00:00Z\n"
)

func csvFiles(users, loans, installments, payments string) []CSVFile {
	var files []CSVFile
	for _, f := range []struct{ resource, name, text string }{ // in a wrong order
		{Payments, "P.csv", payments}, {Installments, "I.csv", installments}, {Loans, "L.csv", loans}, {Users, "U.csv", users},
	} {
		if f.text != "" {
			files = append(files, CSVFile{f.resource, f.name, strings.NewReader(f.text)})
		}
	}
	return files
}

func TestCSVOfABook(t *testing.T) {
	bom := func(s string) string { return "\ufeff" + strings.ReplaceAll(s, "\n", "\r\n") }
	for name, change := range map[string]func(string) string{
		"plain":                           func(s string) string { return s },
		"byte order mark and CRLF":        bom,
		"no end of the last line":         func(s string) string { return strings.TrimSuffix(s, "\n") },
		"empty lines and spaces after , ": func(s string) string { return strings.ReplaceAll(s, "\n", "\n\n") },
	} {
		t.Run(name, func(t *testing.T) {
			on := databases
			if name != "plain" { // how a file is read has nothing to do with the database
				on = func(t *testing.T, test func(*testing.T, *service)) { test(t, setup(t, testenv.SQLite(t), nil)) }
			}
			on(t, func(t *testing.T, s *service) {
				results, err := ImportCSV(t.Context(), s.db, csvFiles(change(usersCSV), change(loansCSV), change(installmentsCSV), change(paymentsCSV)), CSVOptions{})
				if err != nil {
					t.Fatal(err, results)
				}
				var got []string
				for _, r := range results {
					got = append(got, fmt.Sprintf("%s %d %v", r.File, r.Accepted, r.Written))
				}
				if want := []string{"U.csv 2 true", "L.csv 2 true", "I.csv 3 true", "P.csv 2 true"}; !slices.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
				if u, err := s.db.GetUser(t.Context(), "u2"); err != nil || u.Name != "Novák, Jan" {
					t.Errorf("user %+v, %v", u, err)
				}
				if l, err := s.db.GetLoan(t.Context(), "l2"); err != nil || l.Digits != 2 || len(l.Parties) != 1 {
					t.Errorf("loan %+v, %v", l, err)
				}
			})
		})
	}
}

// TestCSVErrorsSayFileLineAndColumn: and nothing of that file is written.
func TestCSVErrorsSayFileLineAndColumn(t *testing.T) {
	s := setup(t, testenv.SQLite(t), nil)
	if _, err := ImportCSV(t.Context(), s.db, csvFiles(usersCSV, loansCSV, "", ""), CSVOptions{}); err != nil {
		t.Fatal(err)
	}
	const head = "id,name,time_zone,locale\n"
	good := "n%d,New,UTC,en\n"
	tests := []struct {
		name, resource, text string
		want                 []string
	}{
		{"nothing", Users, "", []string{"F.csv: line 1: the file is empty"}},
		{"missing column", Users, "id,name,time_zone\nn1,New,UTC\n", []string{"F.csv: line 1, column locale: is missing"}},
		{"unknown column", Users, "id,name,time_zone,locale,phone\nn1,New,UTC,en,1\n", []string{"F.csv: line 1, column phone: is no column"}},
		{"repeated column", Users, "id,id,name,time_zone,locale\nn1,n1,New,UTC,en\n", []string{"F.csv: line 1, column id: is there twice"}},
		{"semicolons", Users, "id;name;time_zone;locale\n", []string{"F.csv: line 1: columns must be separated by commas"}},
		{"bad row", Users, head + fmt.Sprintf(good, 1) + "n2,New,Mars/Base,xx-\n" + fmt.Sprintf(good, 3),
			[]string{"F.csv: line 3, column time_zone: ", "F.csv: line 3, column locale: "}},
		{"too few fields", Users, head + "n1,New,UTC\n", []string{"F.csv: line 2: has 3 fields where the header has 4"}},
		{"duplicate", Users, head + "n1,New,UTC,en\nn2,New,UTC,en\nn1,Newer,UTC,en\n", []string{`F.csv: line 4, column id: "n1" is there already, on line 2`}},
		{"broken quotes", Users, head + "n1,\"New,UTC,en\n", []string{"F.csv: line 2, column"}},
		{"lines are counted through quotes", Users, head + "\"n1\",\"a\nb\",UTC,en\nn2,New,Nowhere,en\n", []string{"F.csv: line 2, column name: has control", "F.csv: line 4, column time_zone"}},
		{"not UTF-8", Users, head + "n1,Ren\xe9,UTC,en\n", []string{"F.csv: line 2, column name: isn't valid UTF-8"}},
		{"installments of an unknown loan", Installments, "loan_id,number,due_date,amount_due,amount_paid\nnope,1,2026-03-10,1,0\n", []string{"F.csv: line 2, column loan_id: is not a loan"}},
		{"a repeated number", Installments, "loan_id,number,due_date,amount_due,amount_paid\nl1,1,2026-03-10,1,0\nl1,1,2026-03-11,1,0\n",
			[]string{"F.csv: line 2, column loan_id: nothing of this loan", "F.csv: line 3, column number: 1 is there already"}},
		{"amounts", Installments, "loan_id,number,due_date,amount_due,amount_paid\nl1,one,2026-03-10,1.234,-1\n",
			[]string{"F.csv: line 2, column number: must be a whole number", "F.csv: line 2, column amount_due: amounts of this", "F.csv: line 2, column amount_paid: must not be negative"}},
		{"parties that aren't JSON", Loans, "id,borrower_id,product,currency,status,parties\nn1,u1,car,EUR,active,u2\n", []string{"F.csv: line 2, column parties: must be a JSON array"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			results, err := ImportCSV(t.Context(), s.db, []CSVFile{{test.resource, "F.csv", strings.NewReader(test.text)}}, CSVOptions{})
			if !errors.Is(err, ErrBadRows) || len(results) != 1 || results[0].Written || results[0].Accepted != 0 {
				t.Fatalf("error %v, results %+v", err, results)
			}
			var got []string
			for _, e := range results[0].Errors {
				got = append(got, e.Error())
			}
			if len(got) != len(test.want) {
				t.Fatalf("got %q, want %q", got, test.want)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], test.want[i]) {
					t.Errorf("got %q, want %q…", got[i], test.want[i])
				}
			}
			for i := 1; i <= 3; i++ {
				if _, err := s.db.GetUser(t.Context(), fmt.Sprintf("n%d", i)); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("n%d of a bad file was written (%v)", i, err)
				}
			}
		})
	}
}

func TestCSVSkipBadWritesTheGoodRows(t *testing.T) {
	databases(t, func(t *testing.T, s *service) {
		text := "id,name,time_zone,locale\nn1,New,UTC,en\nn2,New,Mars/Base,en\nn3,New,UTC,en\nn1,Again,UTC,en\n"
		results, err := ImportCSV(t.Context(), s.db, []CSVFile{{Users, "U.csv", strings.NewReader(text)}}, CSVOptions{SkipBad: true})
		if !errors.Is(err, ErrBadRows) || results[0].Accepted != 2 || results[0].Rejected != 2 || !results[0].Written {
			t.Fatalf("error %v, results %+v", err, results)
		}
		if u, err := s.db.GetUser(t.Context(), "n1"); err != nil || u.Name != "New" {
			t.Errorf("n1 is %+v, %v", u, err)
		}
	})
}

// TestCSVDryRunChecksAWholeBook though its loans are never written.
func TestCSVDryRunChecksAWholeBook(t *testing.T) {
	databases(t, func(t *testing.T, s *service) {
		results, err := ImportCSV(t.Context(), s.db, csvFiles(usersCSV, loansCSV, installmentsCSV, paymentsCSV), CSVOptions{DryRun: true})
		if err != nil {
			t.Fatal(err, results)
		}
		if _, err := s.db.GetUser(t.Context(), "u1"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a dry run wrote a user (%v)", err)
		}
		bad := strings.Replace(installmentsCSV, "100.00,0,90", "100.001,0,90", 1)
		results, err = ImportCSV(t.Context(), s.db, csvFiles(usersCSV, loansCSV, bad, paymentsCSV), CSVOptions{DryRun: true})
		if !errors.Is(err, ErrBadRows) || results[2].Found != 2 {
			t.Errorf("error %v, results %+v", err, results)
		}
	})
}

// TestCSVAfterABadFile: files of a set go together, so what follows a bad one is checked and not written.
func TestCSVAfterABadFile(t *testing.T) {
	s := setup(t, testenv.SQLite(t), nil)
	bad := strings.Replace(loansCSV, "EUR", "EUX", 1)
	results, err := ImportCSV(t.Context(), s.db, csvFiles(usersCSV, bad, installmentsCSV, ""), CSVOptions{})
	if !errors.Is(err, ErrBadRows) || !results[0].Written || results[1].Written || results[2].Written {
		t.Fatalf("error %v, results %+v", err, results)
	}
	if _, err := s.db.GetLoan(t.Context(), "l2"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a loan of the bad file was written (%v)", err)
	}
}

func TestCSVErrorsAreBounded(t *testing.T) {
	s := setup(t, testenv.SQLite(t), nil)
	text := "id,name,time_zone,locale\n" + strings.Repeat("x,,UTC,en\n", 5000)
	results, err := ImportCSV(t.Context(), s.db, []CSVFile{{Users, "U.csv", strings.NewReader(text)}}, CSVOptions{})
	if !errors.Is(err, ErrBadRows) || len(results[0].Errors) != 100 || results[0].Found < 5000 {
		t.Errorf("error %v, %d errors kept of %d", err, len(results[0].Errors), results[0].Found)
	}
}
