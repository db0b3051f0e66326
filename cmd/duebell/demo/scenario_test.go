package demo

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

func TestScenariosAreAllThere(t *testing.T) {
	list, err := readScenarios(fineract)
	if err != nil {
		t.Fatal(err)
	}
	snapshots, installments := 0, 0
	for _, s := range list {
		snapshots += len(s.Snapshots)
		for _, snapshot := range s.Snapshots {
			installments += len(snapshot.Installments)
		}
	}
	if len(list) != 353 || snapshots != 673 || installments != 2694 {
		t.Errorf("%d scenarios, %d snapshots, %d installments; want 353, 673, 2694", len(list), snapshots, installments)
	}
}

func TestScenariosAreReadStrictly(t *testing.T) {
	const scenarios = "scenario_id,feature_file,scenario_title\nS001,Loan.feature,A loan\n"
	const header = "scenario_id,snapshot,feature_line,business_date,currency,installment,due_date,paid_date,principal_due,interest,fees," +
		"penalties,due,paid,in_advance,late,outstanding\n"
	const good = "S001,1,10,2023-05-01,EUR,1,2023-06-01,,750.0,0.0,8.0,0.0,758.0,0.0,0.0,0.0,758.0\n"
	for _, c := range []struct{ name, scenarios, states, want string }{
		{"as it is", scenarios, header + good, ""},
		{"another column", scenarios, strings.Replace(header, "paid_date", "date", 1) + good, "e2e_installment_states.csv:1: the columns are"},
		{"a column too few", scenarios, header + "S001,1\n", "record on line 2: wrong number of fields"},
		{"an unknown scenario", scenarios, header + good + strings.Replace(good, "S001", "S002", 1), `e2e_installment_states.csv:3: scenario_id: "S002"`},
		{"a scenario twice", scenarios + "S001,Loan.feature,Again\n", header + good, `e2e_scenarios.csv:3: scenario_id: "S001"`},
		{"a scenario without rows", scenarios + "S002,Loan.feature,Empty\n", header + good, "scenario S002 has no installments"},
		{"an impossible date", scenarios, header + strings.Replace(good, "2023-06-01", "2023-06-31", 1), "e2e_installment_states.csv:2: due_date: 2023-06-31"},
		{"an amount that is none", scenarios, header + strings.Replace(good, "750.0", "-750.0", 1), "e2e_installment_states.csv:2: principal_due"},
		{"a sum that is none", scenarios, header + strings.Replace(good, "8.0,0.0,758.0", "9.0,0.0,758.0", 1), "e2e_installment_states.csv:2: due: is not the sum"},
		{"another currency", scenarios, header + strings.Replace(good, "EUR", "USD", 1), `e2e_installment_states.csv:2: currency: "USD"`},
		{"a number left out", scenarios, header + strings.Replace(good, "EUR,1", "EUR,2", 1), "e2e_installment_states.csv:2: installment: 2 comes after 0"},
		{"a number twice", scenarios, header + good + good, "e2e_installment_states.csv:3: installment: 1 comes after 1"},
		{"two dates in a snapshot", scenarios, header + good + strings.NewReplacer("2023-05-01", "2023-05-02", "EUR,1", "EUR,2").Replace(good), "e2e_installment_states.csv:3: business_date"},
		{"back in time", scenarios, header + good + strings.NewReplacer("2023-05-01", "2023-04-30", "S001,1", "S001,2").Replace(good), "e2e_installment_states.csv:3: snapshot: 2 of 2023-04-30"},
		{"several things", scenarios, header + strings.NewReplacer("EUR", "USD", "2023-06-01", "soon").Replace(good), "due_date: \"soon\""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var files fs.FS = fstest.MapFS{
				"fineract/e2e_scenarios.csv":          {Data: []byte(c.scenarios)},
				"fineract/e2e_installment_states.csv": {Data: []byte(c.states)},
			}
			_, err := readScenarios(files)
			if c.want == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}
