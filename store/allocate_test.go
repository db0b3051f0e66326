package store

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"duebell/internal/civil"
)

func TestAllocate(t *testing.T) {
	day := civil.MustParse
	three := []Installment{ // by number, and the oldest date isn't the first number
		{Number: 1, DueDate: day("2026-02-10"), AmountDue: 10000, AmountPaid: 4000, Outstanding: 6000},
		{Number: 2, DueDate: day("2026-01-10"), AmountDue: 10000, AmountPaid: 0, Outstanding: 10000},
		{Number: 3, DueDate: day("2026-03-10"), AmountDue: 10000, AmountPaid: 9000, Outstanding: 0}, // 1000 were waived
	}
	for _, test := range []struct {
		name     string
		payments []figurePayment
		want     []int64
	}{
		{"no payments: the figures as they are", nil, []int64{6000, 10000, 0}},
		{"to the oldest date first", []figurePayment{{Amount: 3000}}, []int64{6000, 7000, 0}},
		{"and on to the next", []figurePayment{{Amount: 12000}}, []int64{4000, 0, 0}},
		{"to the one that is named", []figurePayment{{Installment: 1, Amount: 1000}}, []int64{5000, 10000, 0}},
		{"beyond it to the oldest", []figurePayment{{Installment: 1, Amount: 6500}}, []int64{0, 9500, 0}},
		{"a named one that is gone is like none", []figurePayment{{Installment: 9, Amount: 1000}}, []int64{6000, 9000, 0}},
		{"one after the other", []figurePayment{{Amount: 9000}, {Installment: 2, Amount: 2000}}, []int64{5000, 0, 0}},
		{"more than all", []figurePayment{{Amount: 99999}, {Amount: 1}}, []int64{0, 0, 0}},
		{"added back to the latest that was paid on, as much as was paid", []figurePayment{{Amount: 9500, Back: true}}, []int64{6500, 10000, 9000}},
		{"added back to the named one first", []figurePayment{{Installment: 1, Amount: 5000, Back: true}}, []int64{10000, 10000, 1000}},
		{"never more than was paid", []figurePayment{{Amount: 99999, Back: true}}, []int64{10000, 10000, 9000}},
		{"added back before later money is taken off", []figurePayment{{Amount: 10500}, {Amount: 2000, Back: true}}, []int64{5500, 0, 2000}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := allocate(three, test.payments); !slices.Equal(got, test.want) {
				t.Errorf("open = %v, want %v", got, test.want)
			}
		})
	}
}

func TestAllocateKeepsTheSums(t *testing.T) {
	first := civil.MustParse("2026-01-01")
	rapid.Check(t, func(t *rapid.T) {
		var installments []Installment
		for number := range rapid.IntRange(0, 6).Draw(t, "installments") {
			due := rapid.Int64Range(0, 1000).Draw(t, "due")
			paid := rapid.Int64Range(0, due).Draw(t, "paid")
			installments = append(installments, Installment{Number: number + 1,
				DueDate:   first.AddDays(rapid.IntRange(0, 3).Draw(t, "day")),
				AmountDue: due, AmountPaid: paid, Outstanding: rapid.Int64Range(0, due-paid).Draw(t, "outstanding")})
		}
		var payments []figurePayment
		var taken, back int64
		for range rapid.IntRange(0, 8).Draw(t, "payments") {
			p := figurePayment{Installment: rapid.IntRange(0, 7).Draw(t, "named"), Amount: rapid.Int64Range(1, 1500).Draw(t, "amount"),
				Back: rapid.Bool().Draw(t, "back")}
			payments = append(payments, p)
			if p.Back {
				back += p.Amount
			} else {
				taken += p.Amount
			}
		}
		before := slices.Clone(installments)
		open := allocate(installments, payments)
		if !slices.Equal(before, installments) {
			t.Fatal("it changed its arguments")
		}
		var outstanding, room, sum int64
		for i, in := range installments {
			outstanding += in.Outstanding
			room += min(in.AmountPaid, in.AmountDue-in.Outstanding)
			sum += open[i]
			if open[i] < 0 || open[i] > in.AmountDue {
				t.Fatalf("installment %d has %d open of %d", in.Number, open[i], in.AmountDue)
			}
		}
		if want := max(0, outstanding+min(back, room)-taken); sum != want {
			t.Fatalf("%d is open in all, want %d", sum, want)
		}
		if slices.ContainsFunc(payments, func(p figurePayment) bool { return p.Installment != 0 || p.Back }) {
			return
		}
		for i, a := range installments {
			for j, b := range installments {
				older := a.DueDate.Before(b.DueDate) || a.DueDate == b.DueDate && a.Number < b.Number
				if older && open[i] > 0 && open[j] < b.Outstanding {
					t.Fatalf("money went to installment %d while %d was open", b.Number, a.Number)
				}
			}
		}
	})
}
