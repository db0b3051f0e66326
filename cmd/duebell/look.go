package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"duebell/internal/civil"
	"duebell/internal/config"
	"duebell/internal/money"
	"duebell/store"
)

var previewCommand = command{
	name:  "preview",
	about: "shows the reminders that would go out if the book didn't change",
	usage: "[--loan L] [--user U] [--days 14] [--json]",
	flags: func(f *flag.FlagSet) func(context.Context, env, []string) error {
		loan := f.String("loan", "", "only of this loan's `id`")
		user := f.String("user", "", "only to this user's `id`")
		days := f.Int("days", 14, "how many days ahead")
		asJSON := f.Bool("json", false, "as JSON")
		return func(ctx context.Context, e env, args []string) error {
			if err := noArguments(args); err != nil {
				return err
			}
			if *days < 1 || *days > 3660 {
				return usageError{"--days: between 1 and 3660"}
			}
			return e.withStore(ctx, func(_ config.Config, db *store.DB) error {
				items, err := db.Preview(ctx, store.PreviewQuery{LoanID: *loan, Recipient: *user, Until: db.Now().AddDate(0, 0, *days)})
				if err != nil {
					return err
				}
				return e.print(*asJSON, items, func(w io.Writer) { printPreview(w, items) })
			})
		}
	},
}

func printPreview(w io.Writer, items []store.PreviewItem) {
	fmt.Fprintln(w, "AT\tLOCAL TIME\tLOAN\tDUE\tTO\tAS\tKIND\tDAYS\tOPEN")
	for _, i := range items {
		local := ""
		if zone, err := civil.LoadZone(i.TimeZone); err == nil {
			local = i.At.In(zone).Format("Mon 15:04 ") + i.TimeZone
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s %s\n", i.At.UTC().Format(time.RFC3339), local, i.LoanID, i.DueDate, i.Recipient, i.Role,
			i.Kind, i.Days, money.Decimal(i.Amount, i.Digits), i.Currency)
	}
}

var explainCommand = command{
	name:  "explain",
	about: "shows why somebody was reminded or told of something, or was not",
	usage: "--loan L [--due YYYY-MM-DD] [--user U] | --notification ID | --trace ID  [--json]",
	flags: func(f *flag.FlagSet) func(context.Context, env, []string) error {
		var q store.ExplainQuery
		f.StringVar(&q.LoanID, "loan", "", "the loan's `id`")
		f.StringVar(&q.Recipient, "user", "", "only what concerns this user's `id`")
		f.StringVar(&q.NotificationID, "notification", "", "a notification's `id`")
		due := f.String("due", "", "only of this due `date`")
		trace := f.String("trace", "", "hop by hop, the way of a notification, or of those that tell a status change or a message of this `id` (to the first 100 recipients)")
		asJSON := f.Bool("json", false, "as JSON")
		return func(ctx context.Context, e env, args []string) error {
			if err := noArguments(args); err != nil {
				return err
			}
			if *trace != "" {
				if q != (store.ExplainQuery{}) || *due != "" {
					return usageError{"--trace goes with --json only"}
				}
				return e.trace(ctx, *trace, *asJSON)
			}
			if (q.LoanID == "") == (q.NotificationID == "") {
				return usageError{"needs --loan, --notification or --trace"}
			}
			if *due != "" {
				var err error
				if q.DueDate, err = civil.Parse(*due); err != nil {
					return usageError{"--due: " + err.Error()}
				}
			}
			return e.withStore(ctx, func(_ config.Config, db *store.DB) error {
				found, err := db.Explain(ctx, q)
				if err != nil {
					return err
				}
				return e.print(*asJSON, found, func(w io.Writer) { printExplanation(w, found) })
			})
		}
	},
}

func printExplanation(w io.Writer, x store.Explanation) {
	if x.Key != "" {
		fmt.Fprintf(w, "it was told for\t%s\n", x.Key)
	}
	if x.Loan != nil {
		fmt.Fprintf(w, "loan %s\t%s, %s, borrower %s\n\n", x.Loan.ID, x.Loan.Product, x.Loan.Status, x.Loan.BorrowerID)
		fmt.Fprintln(w, "INSTALLMENT\tDUE\tAMOUNT\tOPEN")
		for _, i := range x.Installments {
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", i.Number, i.DueDate, money.Decimal(i.AmountDue, x.Loan.Digits), money.Decimal(i.Open, x.Loan.Digits))
		}
	}
	if len(x.Due) > 0 {
		fmt.Fprintln(w, "\nNEXT LOOK\tDUE\tTO\tAS\tPARKED")
		for _, d := range x.Due {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", d.NextAt.UTC().Format(time.RFC3339), d.DueDate, d.Recipient, d.Role, d.Error)
		}
	}
	fmt.Fprintln(w, "\nDECIDED\tLOCAL TIME\tDUE\tTO\tRULE\tOUTCOME\tREASON\tOPEN\tPOLICY\tNOTIFICATION")
	for _, d := range x.Decisions {
		fmt.Fprintf(w, "%s\t%s %s\t%s\t%s\t%s %+dd\t%s\t%s\t%s %s\t%d\t%s\n", d.DecidedAt.UTC().Format(time.RFC3339), d.LocalTime, d.TimeZone, d.DueDate,
			d.Recipient, d.Kind, d.Offset, d.Outcome, d.Reason, money.Decimal(d.Amount, d.Digits), d.Currency, d.PolicyVersion, d.NotificationID)
	}
}

// print writes v as JSON or as a table.
func (e env) print(asJSON bool, v any, table func(io.Writer)) error {
	if asJSON {
		out := json.NewEncoder(e.stdout)
		out.SetIndent("", "  ")
		return out.Encode(v)
	}
	w := tabwriter.NewWriter(e.stdout, 2, 8, 2, ' ', 0)
	table(w)
	return w.Flush()
}
