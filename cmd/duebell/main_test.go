package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"duebell/internal/auth"
	"duebell/internal/policy"
	"duebell/store"
)

const secret = "a secret of these tests, long enough for HS256"

// call runs the command with an environment of its own and a database in a folder of the test.
func call(t *testing.T, vars map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err strings.Builder
	code = run(context.Background(), args, env{func(name string) string { return vars[name] }, strings.NewReader(""), &out, &err})
	return code, out.String(), err.String()
}

// migrated is an environment with a database that has a policy, as the programs leave it. at is where its simulated clock is; zero: it
// runs on the real one.
func migrated(t *testing.T, at time.Time) map[string]string {
	t.Helper()
	vars := map[string]string{"DATABASE_URL": "sqlite:" + filepath.Join(t.TempDir(), "duebell.db"), "AUTH_JWT_SECRET": secret}
	if code, _, stderr := call(t, vars, "migrate"); code != 0 {
		t.Fatal(stderr)
	}
	ctx := context.Background()
	db, err := store.Open(ctx, vars["DATABASE_URL"], store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, _, err := db.ActivatePolicy(ctx, policy.Default()); err != nil {
		t.Fatal(err)
	}
	if !at.IsZero() {
		if err := db.SaveClock(ctx, at); err != nil {
			t.Fatal(err)
		}
	}
	return vars
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestHelp(t *testing.T) {
	code, stdout, _ := call(t, nil, "help")
	if code != 0 {
		t.Fatal(code)
	}
	for _, c := range commands {
		if !strings.Contains(stdout, c.name) || !strings.Contains(stdout, c.about) {
			t.Errorf("help leaves out %s", c.name)
		}
		if code, stdout, stderr := call(t, nil, c.name, "--help"); code != 0 || !strings.Contains(stdout, "Usage: duebell "+c.name) || stderr != "" {
			t.Errorf("%s --help: %d %s %s", c.name, code, stdout, stderr)
		}
		if code, _, stderr := call(t, nil, c.name, "--no-such-flag"); code != 2 || !strings.Contains(stderr, "no-such-flag") {
			t.Errorf("%s with an unknown flag: %d %s", c.name, code, stderr)
		}
	}
}

func TestMistakesAreNamed(t *testing.T) {
	vars := map[string]string{"AUTH_JWT_SECRET": secret}
	for _, test := range []struct {
		vars map[string]string
		args string
		want string
	}{
		{vars, "", "Usage: duebell COMMAND"},
		{vars, "fly", `no command "fly"`},
		{vars, "token", "either --user or --scope"},
		{vars, "token --user u --scope duebell:admin", "either --user or --scope"},
		{vars, "token --scope duebell:everything", `no scope "duebell:everything"`},
		{vars, "up --speed 2", "--speed and --step need --clock"},
		{vars, "up --clock tomorrow", `"tomorrow" is no instant`},
		{vars, "up --clock 2026-03-08T06:00:00Z --speed 0", "--speed: between"},
		{vars, "up now", `no argument like "now"`},
		{vars, "import", "needs a file"},
		{vars, "import --users nowhere.csv", "--users: open nowhere.csv"},
		{vars, "explain", "--loan, --notification or --trace"},
		{vars, "explain --trace n1 --loan L", "--trace goes with --json only"},
		{vars, "explain --loan L --due 2026-02-30", "--due: "},
		{vars, "preview --days 0", "--days: between"},
		{vars, "demo --port 70000", "--port: between"},
		{map[string]string{"AUTH_JWT_SECRET": "short", "REDIS_URL": "nonsense"}, "up", "2 problems"},
		{map[string]string{}, "up", "AUTH_JWT_SECRET"},
	} {
		code, _, stderr := call(t, test.vars, strings.Fields(test.args)...)
		if code != 2 || !strings.Contains(stderr, test.want) {
			t.Errorf("duebell %s: %d, want 2 with %q: %s", test.args, code, test.want, stderr)
		}
	}
}

func TestToken(t *testing.T) {
	v, err := auth.NewVerifier(auth.Config{Secret: []byte(secret), ServiceAudience: "duebell-internal"})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	vars := map[string]string{"AUTH_JWT_SECRET": secret}
	_, stdout, _ := call(t, vars, "token", "--user", "ada", "--ttl", "2h")
	got, err := v.User(context.Background(), strings.TrimSpace(stdout))
	if left := time.Until(got.ExpiresAt); err != nil || got.UserID != "ada" || left < 119*time.Minute || left > 2*time.Hour {
		t.Errorf("%+v %v", got, err)
	}
	_, stdout, _ = call(t, vars, "token", "--scope", "duebell:admin")
	if _, err := v.Service(context.Background(), strings.TrimSpace(stdout), "duebell:admin"); err != nil {
		t.Error(err)
	}
	if code, stdout, stderr := call(t, nil, "token", "--user", "ada"); code != 1 || stdout != "" || !strings.Contains(stderr, "AUTH_JWT_SECRET") {
		t.Errorf("without a secret: %d %s %s", code, stdout, stderr)
	}
}

const (
	users        = "id,name,time_zone,locale\nada,Ada,Europe/Prague,en\n"
	loans        = "id,borrower_id,product,currency,status\nL1,ada,Home loan,EUR,active\n"
	installments = "loan_id,number,due_date,amount_due,amount_paid\nL1,1,2026-03-20,100.00,40.00\n"
)

// A database on a simulated clock lives in that time for every command: here nothing of March is over.
func TestABookIsImportedAndLookedAtInTheTimeOfItsDatabase(t *testing.T) {
	vars := migrated(t, time.Date(2026, 3, 12, 6, 0, 0, 0, time.UTC))
	args := []string{"import", "--users", file(t, "u.csv", users), "--loans", file(t, "l.csv", loans), "--installments", file(t, "i.csv", installments)}
	if code, stdout, stderr := call(t, vars, append(args, "--dry-run")...); code != 0 || strings.Count(stdout, "nothing written (dry run)") != 3 {
		t.Fatalf("dry run: %d %s %s", code, stdout, stderr)
	}
	if _, stdout, _ := call(t, vars, "status"); !strings.Contains(strings.Join(strings.Fields(stdout), " "), "loans 0 0 active") {
		t.Errorf("after the dry run: %s", stdout)
	}
	if code, stdout, stderr := call(t, vars, args...); code != 0 || strings.Count(stdout, "1 rows written, 0 bad") != 3 {
		t.Fatalf("import: %d %s %s", code, stdout, stderr)
	}
	code, stdout, stderr := call(t, vars, "preview", "--loan", "L1", "--days", "10", "--json")
	var items []store.PreviewItem
	if err := json.Unmarshal([]byte(stdout), &items); err != nil || code != 0 {
		t.Fatalf("preview: %d %v %s", code, err, stderr)
	}
	var days []int
	for _, i := range items {
		days = append(days, i.Days)
		if i.Amount != 6000 {
			t.Errorf("amount %d, want what is open: 6000", i.Amount)
		}
	}
	if want := []int{7, 3, 1, 0, -1}; len(days) != len(want) || days[0] != 7 || days[4] != -1 {
		t.Errorf("reminders at %v days, want %v", days, want)
	}
	if _, stdout, _ := call(t, vars, "explain", "--loan", "L1"); !strings.Contains(stdout, "60.00") || !strings.Contains(stdout, "2026-03-13T08:00:00Z") {
		t.Errorf("explain: %s", stdout)
	}
}

func TestTraceOfAStatusChange(t *testing.T) {
	at := time.Date(2026, 3, 12, 6, 0, 0, 0, time.UTC)
	vars := migrated(t, time.Time{})
	vars["REDIS_URL"] = "embedded"
	db, err := store.Open(t.Context(), vars["DATABASE_URL"], store.Options{Clock: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	added := db.AddStatusChanges(t.Context(), []store.StatusChange{{ID: "c1", ApplicationID: "A1", BorrowerID: "ada", To: "approved",
		OccurredAt: at, BodyHash: "h"}})[0]
	if added.Err != nil || !added.Created {
		t.Fatal(added)
	}
	at = at.Add(1500 * time.Microsecond)
	told, err := db.TellApplications(t.Context(), []string{"A1"}, func(c store.StatusChange, _ map[string]store.Person, _ time.Time) ([]store.Draft, error) {
		return []store.Draft{{Recipient: c.BorrowerID, Kind: "application.status_changed", Title: c.To}}, nil
	})
	if err != nil || told != 1 {
		t.Fatal(told, err)
	}

	code, stdout, stderr := call(t, vars, "explain", "--trace", "c1")
	if code != 0 || !strings.Contains(stderr, "REDIS_URL is embedded") {
		t.Fatalf("%d %s", code, stderr)
	}
	text := strings.Join(strings.Fields(stdout), " ")
	for _, want := range []string{"application.status_changed to ada, rev 1, of status change c1", "call 2026-03-12T06:00:00.000000Z the transaction",
		"enqueue ", "handle 2026-03-12T06:00:00.001500Z ", "- no pusher answered"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, stdout)
		}
	}
	code, stdout, stderr = call(t, vars, "explain", "--trace", "c1", "--json")
	var found traced
	if err := json.Unmarshal([]byte(stdout), &found); err != nil || code != 0 {
		t.Fatalf("%d %v %s", code, err, stderr)
	}
	if len(found.Ways) != 1 || found.Pushers != 0 || !strings.Contains(stdout, `"live": []`) {
		t.Fatalf("as JSON: %s", stdout)
	}
	if way := found.Ways[0]; way.Recipient != "ada" || way.Source != "status change c1" || way.ArrivedAt == nil || way.EnqueuedAt == nil ||
		way.HandledAt == nil || !way.HandledAt.Equal(at) || way.ReadAt != nil {
		t.Errorf("as JSON: %s", stdout)
	}
	if code, stdout, stderr := call(t, vars, "explain", "--trace", "c2"); code != 1 || stdout != "" || stderr == "" {
		t.Errorf("of what isn't there: %d %s %s", code, stdout, stderr)
	}

	var out strings.Builder
	printTraces(&out, traced{Ways: found.Ways, Pushers: 2, More: true})
	for _, want := range []string{"none of 2 pushers that answered remembers it live: ", "The first 100 recipients; there are more."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
	if found.More || strings.Contains(text, "there are more") {
		t.Errorf("of one recipient: %s", stdout)
	}
}

func TestABadFileIsNotWritten(t *testing.T) {
	vars := migrated(t, time.Time{})
	bad := file(t, "u.csv", "\xef\xbb\xbf"+users+"eve,Eve,Nowhere,en\r\n")
	code, stdout, stderr := call(t, vars, "import", "--users", bad)
	if code != 1 || !strings.Contains(stderr, bad+": line 3, column time_zone: ") || !strings.Contains(stdout, "nothing written") {
		t.Errorf("%d %s %s", code, stdout, stderr)
	}
	if _, stdout, _ := call(t, vars, "status", "--json"); !strings.Contains(stdout, `"users": 0`) {
		t.Errorf("something was written: %s", stdout)
	}
	if code, stdout, _ := call(t, vars, "import", "--users", bad, "--skip-bad"); code != 0 || !strings.Contains(stdout, "1 rows written, 1 bad") {
		t.Errorf("--skip-bad: %d %s", code, stdout)
	}
}

func TestAnEmptyDatabaseIsToldToBeMigrated(t *testing.T) {
	vars := map[string]string{"DATABASE_URL": "sqlite:" + filepath.Join(t.TempDir(), "duebell.db")}
	if code, _, stderr := call(t, vars, "status"); code != 1 || !strings.Contains(stderr, "run duebell migrate") {
		t.Errorf("%d %s", code, stderr)
	}
}
