package store

import (
	"encoding/json"
	"time"

	"duebell/internal/civil"
)

// User is a person: borrower, guarantor or officer.
type User struct {
	ID       string
	Name     string
	Email    string // "" when unknown
	TimeZone string // IANA
	Locale   string // BCP 47
	AsOf     time.Time
}

// Roles of a recipient on a loan. A person with several roles has the first of them in this order.
const (
	RoleBorrower   = "borrower"
	RoleCoBorrower = "co_borrower"
	RoleGuarantor  = "guarantor"
	RoleOfficer    = "officer"
)

// Party is a person beside the borrower who is told about a loan.
type Party struct {
	UserID string   `json:"user_id"`
	Role   string   `json:"role"`
	Notify []string `json:"notify"` // kinds
}

// LoanActive is the only loan status in which reminders go out.
const LoanActive = "active"

// Loan is the head of a loan. Amounts of its installments and payments are minor units of Digits decimals.
type Loan struct {
	ID         string    `json:"id"`
	BorrowerID string    `json:"borrower_id"`
	Product    string    `json:"product"`
	Currency   string    `json:"currency"`
	Digits     int       `json:"digits"`
	Status     string    `json:"status"`
	Parties    []Party   `json:"parties"`
	AsOf       time.Time `json:"as_of,omitzero"`
}

// Installment is one dated amount due. Open is what is left now; it is computed and ignored on input.
type Installment struct {
	Number      int        `json:"number"`
	DueDate     civil.Date `json:"due_date"`
	AmountDue   int64      `json:"amount_due"` // amounts in minor units
	AmountPaid  int64      `json:"amount_paid"`
	Outstanding int64      `json:"outstanding"`
	Open        int64      `json:"open"`
}

// Schedule is the whole repayment plan of one loan as the loan system had it at AsOf (zero: at arrival).
type Schedule struct {
	LoanID       string
	Installments []Installment
	AsOf         time.Time
}

// Payment is money that arrived on a loan.
type Payment struct {
	ID          string
	LoanID      string
	Installment int // 0: to the oldest open one first
	Amount      int64
	PaidAt      time.Time
	BodyHash    string // of the request, to tell a repeat from a contradiction
}

// StatusChange is one row of the outbox.
type StatusChange struct {
	ID            string
	ApplicationID string
	BorrowerID    string
	From, To      string
	Reason        string
	OccurredAt    time.Time
	Notify        []string
	BodyHash      string

	pruned bool // its Reason is gone
}

// Request is something else that must be told: POST /v1/notifications, or a due date that moved.
type Request struct {
	ID       string // of the caller; ours start with "duebell:"
	Body     json.RawMessage
	BodyHash string
}

// Notification is the stored record as clients see it.
type Notification struct {
	ID         string          `json:"id" db:"id"`
	Kind       string          `json:"kind" db:"kind"`
	Title      string          `json:"title" db:"title"`
	Body       string          `json:"body" db:"body"`
	Data       json.RawMessage `json:"data" db:"data"` // a JSON object, or null
	URL        *string         `json:"url" db:"url"`
	CreatedAt  time.Time       `json:"created_at" db:"created_at"`
	ReadAt     *time.Time      `json:"read_at" db:"read_at"`
	ArchivedAt *time.Time      `json:"archived_at" db:"archived_at"`
	ResolvedAt *time.Time      `json:"resolved_at" db:"resolved_at"`
	Quiet      bool            `json:"quiet" db:"quiet"`
	CreatedRev int64           `json:"created_rev" db:"created_rev"`
	Rev        int64           `json:"rev" db:"rev"`
}

// Draft is a notification that is about to be written.
type Draft struct {
	Recipient string
	Kind      string
	Title     string
	Body      string
	Data      json.RawMessage
	URL       string
	Quiet     bool
	// Key makes a second insert of the same fact do nothing; "" where another unique key guards it.
	Key string
}

// Counts are the absolute counters of an inbox at Rev.
type Counts struct {
	Rev    int64 `json:"rev" db:"rev"`
	Unread int64 `json:"unread" db:"unread"`
	Unseen int64 `json:"unseen" db:"unseen"`
	Total  int64 `json:"total" db:"total"`
}

// Change is what one transaction did to one inbox: it moved rev from From to Counts.Rev.
type Change struct {
	Recipient string
	From      int64
	Counts
	Items       []Notification // whole, in their present state, by rev
	Removed     []string       // ids of deleted ones
	ReadThrough int64          // everything created up to this rev is read; 0: not a read-all
	Reset       bool           // the history before Rev is gone (erased): clients start over
}

// Head is what a session needs to know of an inbox when it starts.
type Head struct {
	Counts
	Recipient string    `db:"recipient"`
	FloorRev  int64     `db:"floor_rev"`  // cursors below it are answered with a reset
	NotBefore time.Time `db:"not_before"` // tokens issued before are refused; zero: none revoked
}

// Page is a piece of what changed in an inbox after a cursor, read in one snapshot with its counts.
type Page struct {
	Epoch string
	Head
	Items   []Notification // by (rev, id); at most the limit, tombstones counted
	Removed []string
	// Last is the position of the last row; More says whether rows follow it in this snapshot.
	LastRev int64
	LastID  string
	More    bool
}
