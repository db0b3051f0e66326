package jobs

import (
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/hibiken/asynq"
)

// Types of tasks.
const (
	TypeStatusNotify     = "status:notify"
	TypeNotificationSend = "notification:send"
	TypeReminderRun      = "reminder:run"
	TypeReminderHelp     = "reminder:help"
	TypeDueCompare       = "due:compare"
	TypeRetentionRun     = "retention:run"
)

// Queues by urgency: a status change waits for no run of reminders, and neither for housekeeping.
const (
	QueueStatus       = "status"
	QueueReminders    = "reminders"
	QueueHousekeeping = "housekeeping"
)

// Queues lists them, the most urgent first.
func Queues() []string { return []string{QueueStatus, QueueReminders, QueueHousekeeping} }

const (
	// A task that fails is tried again after growing pauses for about an hour and then archived. Its row is still in the
	// outbox, so the relay enqueues it anew: this bounds what piles up, not what is tried.
	maxRetry = 12
	// taskTimeout ends a task that hangs. What it should have done is then claimed again.
	taskTimeout = 2 * time.Minute
	// runTimeout is for a run after a long outage: it works in batches, each of which is committed.
	runTimeout = time.Hour
	// tickRetention keeps the id of a tick that is done, so that a scheduler that comes late with it enqueues nothing.
	tickRetention = 10 * time.Minute
)

// keysPayload names what a task is about; what is to be said is in the database.
type keysPayload struct {
	Keys []string `json:"keys"`
}

// tickPayload is the tick that a run is for.
type tickPayload struct {
	Job string    `json:"job"`
	At  time.Time `json:"at"`
	// Passed is how often a call for help was put back by workers that do what they can already.
	Passed int `json:"passed,omitempty"`
}

// NewStatusNotify is a task that tells all pending status changes of some applications.
func NewStatusNotify(id string, applications []string) *asynq.Task {
	return newTask(TypeStatusNotify, keysPayload{applications}, asynq.Queue(QueueStatus), asynq.TaskID(id), asynq.Timeout(taskTimeout))
}

// NewNotificationSend is a task that tells some requests of the loan system.
func NewNotificationSend(id string, requests []string) *asynq.Task {
	return newTask(TypeNotificationSend, keysPayload{requests}, asynq.Queue(QueueStatus), asynq.TaskID(id), asynq.Timeout(taskTimeout))
}

// NewReminderRun is a task that sends every reminder that is due by now, whatever the tick was.
func NewReminderRun(job string, at time.Time, attempt int) *asynq.Task {
	return newTask(TypeReminderRun, tickPayload{Job: job, At: at.UTC()}, asynq.Queue(QueueReminders), asynq.TaskID(tickTaskID(job, at, attempt)),
		asynq.Timeout(runTimeout), asynq.Retention(tickRetention))
}

// newReminderHelp is a task that works for the run of a tick until nothing is due. The run itself finishes the tick, so one
// that fails isn't missed.
func newReminderHelp(tick tickPayload, id string) *asynq.Task {
	return newTask(TypeReminderHelp, tick, asynq.Queue(QueueReminders), asynq.TaskID(id), asynq.Timeout(runTimeout))
}

// newDueCompare is a task that compares the due queue with a fresh derivation.
func newDueCompare(job string, at time.Time, attempt int) *asynq.Task {
	return newTask(TypeDueCompare, tickPayload{Job: job, At: at.UTC()}, asynq.Queue(QueueHousekeeping), asynq.TaskID(tickTaskID(job, at, attempt)),
		asynq.Timeout(runTimeout), asynq.Retention(tickRetention))
}

// newRetentionRun is a task that removes what is older than the policy keeps it.
func newRetentionRun(job string, at time.Time, attempt int) *asynq.Task {
	return newTask(TypeRetentionRun, tickPayload{Job: job, At: at.UTC()}, asynq.Queue(QueueHousekeeping), asynq.TaskID(tickTaskID(job, at, attempt)),
		asynq.Timeout(runTimeout), asynq.Retention(tickRetention))
}

func newTask(name string, payload any, opts ...asynq.Option) *asynq.Task {
	text, err := json.Marshal(payload)
	if err != nil {
		panic(err) // strings and times always encode
	}
	return asynq.NewTask(name, text, append(opts, asynq.MaxRetry(maxRetry))...)
}

// ticked says whether tasks of a type come from ticks, so that their ids say nothing of when they were enqueued.
func ticked(name string) bool {
	return name == TypeReminderRun || name == TypeReminderHelp || name == TypeDueCompare || name == TypeRetentionRun
}

func tickTaskID(job string, at time.Time, attempt int) string {
	return fmt.Sprintf("%s:%d:%d", job, at.Unix(), attempt)
}

// claimTaskID is an id that can be found again by eye. It holds the attempt and the time, since the id of a task that was
// archived or orphaned would block its row for ever, and that of one that runs a row which came meanwhile; and the kind, since an
// application and a request may have the same id.
func claimTaskID(kind, key string, attempt int, now time.Time) string {
	return kind + "." + plain(key) + ":" + strconv.Itoa(attempt) + ":" + strconv.FormatInt(now.UnixMicro(), 36)
}

// plain keeps out of Redis keys what has a meaning there (braces choose a cluster's slot) or can't be read.
func plain(key string) string {
	unsafe := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r))
	}
	if len(key) <= 64 && !strings.ContainsFunc(key, unsafe) {
		return key
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(key))
	return "h" + strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(h.Sum(nil)))
}

// claimedAt is the time in such an id.
func claimedAt(id string) (time.Time, bool) {
	i := strings.LastIndexByte(id, ':')
	micro, err := strconv.ParseInt(id[i+1:], 36, 64)
	return time.UnixMicro(micro), err == nil && i > 0
}

var errNoKeys = errors.New("the payload names nothing")

// readKeys is the payload of a task that names keys. One that can't be read never will be: the error skips the retries.
func readKeys(task *asynq.Task) ([]string, error) {
	var p keysPayload
	err := json.Unmarshal(task.Payload(), &p)
	if err == nil && len(p.Keys) == 0 {
		err = errNoKeys
	}
	if err != nil {
		return nil, fmt.Errorf("read payload of %s: %w (%w)", task.Type(), err, asynq.SkipRetry)
	}
	return p.Keys, nil
}

func readTick(task *asynq.Task) (tickPayload, error) {
	var p tickPayload
	if err := json.Unmarshal(task.Payload(), &p); err != nil {
		return p, fmt.Errorf("read payload of %s: %w (%w)", task.Type(), err, asynq.SkipRetry)
	}
	return p, nil
}
