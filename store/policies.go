package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"duebell/internal/civil"
	"duebell/internal/policy"
)

// PolicyVersion is a policy as it was activated in this database. The zero one is before the first activation: its
// Policy is nil and nothing is sent.
type PolicyVersion struct {
	Version int64
	Policy  *policy.Policy
	// Since is when a rule came into force; those of the first policy aren't in it.
	Since map[policy.Rule]time.Time
	// MandatorySince is when a kind became one that nobody can switch off in the app; those of the first policy aren't in it.
	MandatorySince map[string]time.Time
	ActivatedAt    time.Time
}

// sinceDays is Since on a calendar.
func (pv PolicyVersion) sinceDays(zone *time.Location) map[policy.Rule]civil.Date {
	if len(pv.Since) == 0 {
		return nil
	}
	days := make(map[policy.Rule]civil.Date, len(pv.Since))
	for rule, at := range pv.Since {
		days[rule] = civil.Of(at.In(zone))
	}
	return days
}

// quiet is the lender's quiet hours.
func (pv PolicyVersion) quiet() *policy.QuietHours {
	if pv.Policy == nil {
		return nil
	}
	return pv.Policy.Quiet
}

// mandatory says whether a kind goes out on a channel whatever the person switched off.
func (pv PolicyVersion) mandatory(kind, channel string) bool {
	return pv.Policy != nil && pv.Policy.IsMandatory(kind, channel)
}

// policyCache keeps the newest version that was read, because parsing one takes longer than all else.
type policyCache struct {
	mu sync.Mutex
	pv PolicyVersion
}

// storedRule is an entry of policies.rules: a rule, or a kind that became mandatory.
type storedRule struct {
	Kind      string     `json:"kind"`
	Offset    int        `json:"offset"`
	Mandatory bool       `json:"mandatory,omitempty"`
	Since     *time.Time `json:"since"`
}

// newVersion is a policy that is activated, without since when its parts are in force.
func newVersion(version int64, p *policy.Policy, at time.Time) PolicyVersion {
	return PolicyVersion{Version: version, Policy: p, ActivatedAt: at,
		Since: map[policy.Rule]time.Time{}, MandatorySince: map[string]time.Time{}}
}

// ActivePolicy is the policy in force; ErrNotFound if none was activated yet.
func (db *DB) ActivePolicy(ctx context.Context) (PolicyVersion, error) {
	pv, err := db.activePolicy(ctx, db.query())
	if err == nil && pv.Version == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return PolicyVersion{}, fmt.Errorf("read the active policy: %w", err)
	}
	return pv, nil
}

// activePolicy is the policy in force as q sees it, the zero PolicyVersion if there is none.
func (db *DB) activePolicy(ctx context.Context, q queryer) (PolicyVersion, error) {
	var version int64
	if err := q.together(ctx, readPolicyVersion(&version)); err != nil {
		return PolicyVersion{}, err
	}
	return db.policyOf(ctx, q, version)
}

// readPolicyVersion reads the version in force, 0 if there is none.
func readPolicyVersion(version *int64) statement {
	return statement{what: "read the active policy", query: `SELECT COALESCE(max(version), 0) FROM policies`,
		scan: func(row scanner) error { return row.Scan(version) }}
}

// policyOf is one version of the policy, the zero PolicyVersion for 0.
func (db *DB) policyOf(ctx context.Context, q queryer, version int64) (PolicyVersion, error) {
	if version == 0 {
		return PolicyVersion{}, nil
	}
	db.policies.mu.Lock()
	pv := db.policies.pv
	db.policies.mu.Unlock()
	if pv.Version == version {
		return pv, nil
	}
	var row struct {
		Source      string  `db:"source"`
		Rules       string  `db:"rules"`
		ActivatedAt instant `db:"activated_at"`
	}
	err := q.get(ctx, &row, `SELECT source, rules, activated_at FROM policies WHERE version = ?`, version)
	if err != nil {
		return PolicyVersion{}, err
	}
	parsed, err := policy.Parse([]byte(row.Source), fmt.Sprintf("policy version %d", version))
	if err != nil {
		return PolicyVersion{}, err
	}
	var rules []storedRule
	if err := json.Unmarshal([]byte(row.Rules), &rules); err != nil {
		return PolicyVersion{}, fmt.Errorf("policy version %d: rules: %w", version, err)
	}
	pv = newVersion(version, parsed, row.ActivatedAt.Time)
	for _, r := range rules {
		switch {
		case r.Since == nil:
		case r.Mandatory:
			pv.MandatorySince[r.Kind] = r.Since.UTC()
		default:
			pv.Since[policy.Rule{Kind: r.Kind, Offset: r.Offset}] = r.Since.UTC()
		}
	}
	db.policies.mu.Lock()
	defer db.policies.mu.Unlock()
	if db.policies.pv.Version < version {
		db.policies.pv = pv
	}
	return pv, nil
}

// ActivatePolicy puts a policy into force, unless it says what the active one says: then changed is false. Rules that
// the version before didn't have count from now, and so do kinds that nobody can switch off any more: a policy never sends days
// that lie before it. The due queue follows with RederiveStale.
func (db *DB) ActivatePolicy(ctx context.Context, p *policy.Policy) (pv PolicyVersion, changed bool, err error) {
	err = db.write(ctx, func(ctx context.Context, tx *Tx) error {
		changed = false
		if tx.pg { // programs that start together activate one after the other
			if _, err := tx.exec(ctx, `LOCK TABLE policies IN SHARE ROW EXCLUSIVE MODE`); err != nil {
				return err
			}
		}
		var hash string
		err := tx.get(ctx, &hash, `SELECT hash FROM policies ORDER BY version DESC LIMIT 1`)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if pv, err = db.activePolicy(ctx, tx.queryer); err != nil {
			return err
		}
		if pv.Version > 0 && hash == p.Hash() {
			return nil
		}
		changed = true
		next := newVersion(pv.Version+1, p, tx.now)
		rules := make([]storedRule, len(p.Reminders))
		for i, rule := range p.Reminders {
			rules[i] = storedRule{Kind: rule.Kind, Offset: rule.Offset}
			since, dated := pv.Since[rule]
			if pv.Version > 0 && !pv.Policy.Has(rule) {
				since, dated = tx.now, true
			}
			if dated {
				rules[i].Since = &since
				next.Since[rule] = since
			}
		}
		for kind := range p.Mandatory {
			since, dated := pv.MandatorySince[kind]
			if pv.Version > 0 && !pv.mandatory(kind, policy.ChannelPush) {
				since, dated = tx.now, true
			}
			if dated && p.IsMandatory(kind, policy.ChannelPush) {
				rules = append(rules, storedRule{Kind: kind, Mandatory: true, Since: &since})
				next.MandatorySince[kind] = since
			}
		}
		text, err := json.Marshal(rules)
		if err != nil {
			return err
		}
		_, err = tx.exec(ctx, `INSERT INTO policies (version, hash, source, rules, activated_at) VALUES (?, ?, ?, ?, ?)`,
			next.Version, p.Hash(), p.Source(), string(text), tx.now)
		pv = next
		return err
	})
	if err != nil {
		return PolicyVersion{}, false, fmt.Errorf("activate policy: %w", err)
	}
	return pv, changed, nil
}
