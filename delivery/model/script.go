package model

// Bounds of the model. Everything in a state is a small number, so that a state is a value and can be a map's key.
const (
	maxRevs     = 4
	maxWriters  = 2
	maxSessions = 2
)

// op is what one rev does to an inbox.
type op struct {
	do  verb
	row int // the rev that created the row: of remove; up to which to read: of readAll
}

type verb uint8

const (
	create  verb = iota // a notification, whose row is named after its rev
	remove              // a row becomes a tombstone
	readAll             // all rows up to one change, with one rev (store.DB.ReadAll)
	erase               // all rows go, tombstones too, and the floor rises (store.Tx.erase)
)

// transaction is what one commit does: a rev for each op.
type transaction struct {
	ops  []op
	hint bool // it is too big for a frame: its message has none (encodeChange)
}

// one is a transaction of a single op.
func one(do verb, row ...int) transaction {
	o := op{do: do}
	if len(row) > 0 {
		o.row = row[0]
	}
	return transaction{ops: []op{o}}
}

// A script is the transactions in the order of their commits. Which writer makes each, and when it is told of, is left open.
type script []transaction

// row is a notification as it lies in the table.
type row struct {
	rev  uint8 // the last that changed it; 0: there is no such row
	read bool
	gone bool // a tombstone
}

// inbox is what a script has made of it at a rev. Rows are named after the rev that created them.
type inbox struct {
	rows  [maxRevs + 1]row
	floor uint8
}

// plan is a script worked out.
type plan struct {
	inboxes [maxRevs + 1]inbox // by rev
	commits []commit
	page    int // rows a frame of catching up holds
}

// commit is a transaction with its message.
type commit struct {
	from, to uint8
	hint     bool
	items    items
	through  uint16 // read_through
}

func newPlan(s script, page int) *plan {
	p := &plan{page: page}
	rev := uint8(0)
	for _, t := range s {
		c := commit{from: rev, hint: t.hint}
		for _, o := range t.ops {
			at := p.inboxes[rev]
			rev++
			switch o.do {
			case create:
				at.rows[rev] = row{rev: rev}
			case remove:
				at.rows[o.row] = row{rev: rev, gone: true}
			case readAll:
				c.through = uint16(o.row)
				for i := 1; i <= o.row; i++ {
					if r := &at.rows[i]; r.rev != 0 && !r.gone && !r.read {
						r.read, r.rev = true, rev
					}
				}
			case erase:
				at = inbox{floor: rev}
				c.hint = true
			}
			p.inboxes[rev] = at
		}
		c.to = rev
		for i := 1; i <= maxRevs; i++ {
			if r := p.inboxes[rev].rows[i]; r.rev > c.from && c.through == 0 { // a read-all names no rows
				c.items.set(i, version{r.rev, false}, r.gone)
			}
		}
		p.commits = append(p.commits, c)
	}
	return p
}

// version names a state of a row: the rev that made it, and in which of the two lives of a restored database.
type version struct {
	rev    uint8
	second bool
}

// items is a version of each row, 4 bits a row: what a client holds, or what a frame brings. 0 is no row.
type items uint16

const removed = 15

func (f *items) set(row int, v version, gone bool) {
	code := items(v.rev)
	if v.second {
		code += maxRevs
	}
	if gone {
		code = removed
	}
	f.put(row, code)
}

func (f *items) put(row int, code items) {
	*f = *f&^(15<<(4*row-4)) | code<<(4*row-4)
}

func (f items) code(row int) items { return f >> (4*row - 4) & 15 }

// rev is that of a code which is no removal.
func (f items) rev(row int) uint8 {
	code := f.code(row)
	if code > maxRevs {
		code -= maxRevs
	}
	return uint8(code)
}
