package jobs

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"duebell/internal/civil"
)

func TestReminderDataIsJSON(t *testing.T) {
	for _, d := range []reminderData{
		{"L-17", civil.Date{Year: 2026, Month: 3, Day: 11}, 3, "1250.00", "EUR", []int{4}},
		{`a "loan" <&> \ ` + "\u2028\n", civil.Date{Year: 2026, Month: 12, Day: 31}, -40, "0.000001", "KWD", []int{1, 2, 360}},
	} {
		var got reminderData
		decoder := json.NewDecoder(strings.NewReader(string(d.json())))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&got); err != nil || !reflect.DeepEqual(got, d) {
			t.Errorf("%s is %+v, %v; want %+v", d.json(), got, err, d)
		}
	}
	if got, want := string(reminderData{}.json()), `"installments":[]`; !strings.Contains(got, want) {
		t.Errorf("%s: nothing open must be %s", got, want)
	}
}
