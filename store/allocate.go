package store

import (
	"cmp"
	"slices"
)

// figurePayment is a payment as far as it moves what is open.
type figurePayment struct {
	Installment int // 0: none named
	Amount      int64
	// Back: the schedule's figures include the payment and it was reversed since, so it is added back. Else it arrived
	// after the figures and is taken off.
	Back bool
}

// allocate works out what is open of each installment: the schedule's outstanding, plus what was reversed of the payments
// that it includes, less the payments since. The answer is aligned with installments; payments come in the order in
// which they count.
//
// Money that is taken off goes to the named installment first, and what that doesn't need, like money that names none,
// to the oldest open one by due date and number. Money beyond all of them changes nothing. Money that is added back goes
// to the named installment, then to the latest ones; an installment gets no more than the figures say was paid on it,
// and never owes more than its amount due.
func allocate(installments []Installment, payments []figurePayment) []int64 {
	open := make([]int64, len(installments))
	index := make(map[int]int, len(installments)) // by number
	oldest := make([]int, len(installments))
	for i, in := range installments {
		open[i] = max(0, in.Outstanding)
		index[in.Number] = i
		oldest[i] = i
	}
	if len(payments) == 0 {
		return open
	}
	slices.SortFunc(oldest, func(a, b int) int {
		return cmp.Or(installments[a].DueDate.Compare(installments[b].DueDate),
			cmp.Compare(installments[a].Number, installments[b].Number))
	})

	paid := make([]int64, len(installments)) // by the figures, and not added back yet
	for i, in := range installments {
		paid[i] = in.AmountPaid
	}
	for _, p := range payments {
		if !p.Back {
			continue
		}
		rest := p.Amount
		back := func(i int) {
			n := max(0, min(rest, paid[i], installments[i].AmountDue-open[i]))
			open[i], paid[i], rest = open[i]+n, paid[i]-n, rest-n
		}
		if i, ok := index[p.Installment]; ok {
			back(i)
		}
		for _, i := range slices.Backward(oldest) {
			back(i)
		}
	}

	first := 0 // of oldest that may be open
	for _, p := range payments {
		if p.Back {
			continue
		}
		rest := p.Amount
		take := func(i int) {
			n := min(rest, open[i])
			open[i], rest = open[i]-n, rest-n
		}
		if i, ok := index[p.Installment]; ok {
			take(i)
		}
		for ; rest > 0 && first < len(oldest); first++ {
			take(oldest[first])
			if open[oldest[first]] > 0 {
				break
			}
		}
	}
	return open
}
