package eryxon

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kinds of failure, for [errors.Is]. An error of this package matches at most
// a few of them; the types below carry the particulars.
var (
	// ErrValidation: a record breaks a rule, of the server's or of the SDK's
	// own. The error is a [*ValidationError] too.
	ErrValidation = errors.New("invalid record")
	// ErrUnauthorized: the server does not accept the API key (401).
	ErrUnauthorized = errors.New("API key not accepted")
	// ErrForbidden: the key is known but may not do this (403).
	ErrForbidden = errors.New("not allowed")
	// ErrQuotaExceeded: a limit of the installation's plan is reached (402).
	// It is about what the plan may store; [ErrRateLimited] is about requests.
	ErrQuotaExceeded = errors.New("plan limit reached")
	// ErrNotFound: the server has no such address (404), or no such row.
	ErrNotFound = errors.New("not found")
	// ErrUnsupported: the server can't do what was asked, or tell it: its
	// release lacks the call, or the call is broken. It says nothing of a row.
	ErrUnsupported = errors.New("not supported by the server")
	// ErrConflict: the record collides with what the server holds (409, or a
	// duplicate key that is neither of the two below).
	ErrConflict = errors.New("conflict")
	// ErrNaturalKeyTaken: the number or name belongs to another row, typed in
	// by hand or synced from another ERP.
	ErrNaturalKeyTaken = errors.New("number or name taken by another row")
	// ErrDeletedOnServer: the row was deleted in the MES; its external id
	// can't be used again. A server that says that it synced a deleted cell has
	// written the dead row; of more than twenty cells in a request this is not
	// looked for there.
	ErrDeletedOnServer = errors.New("deleted on the server")
	// ErrParentNotFound: the record's job, part or cell is not on the server.
	ErrParentNotFound = errors.New("parent not found")
	// ErrMissingColumn: the server's database lacks a column that the record,
	// or the server itself, writes or reads.
	ErrMissingColumn = errors.New("column missing on the server")
	// ErrTooLarge: the request is too large for the server or a gateway (413),
	// or one record alone is over the limit.
	ErrTooLarge = errors.New("too large")
	// ErrRateLimited: the request quota is used up (429, or known beforehand).
	// The error is a [*RateLimitError] too.
	ErrRateLimited = errors.New("rate limit reached")
	// ErrRequestBudget: the run has made as many requests as it was allowed
	// (see [WithRequestBudget]).
	ErrRequestBudget = errors.New("request budget spent")
	// ErrServer: the server or a gateway failed (5xx), or a record of a bulk met
	// a failure of the database's that passes, such as a deadlock.
	ErrServer = errors.New("server error")
	// ErrTimeout: no answer came within the attempt timeout, or a gateway gave
	// up waiting (504, 408). The server may still carry the request out.
	ErrTimeout = errors.New("timeout")
	// ErrConnection: the connection failed before a whole answer was read.
	ErrConnection = errors.New("connection failed")
	// ErrRedirect: the server answered with a redirect. They are never
	// followed: a redirected PUT or POST arrives as a GET and writes nothing.
	ErrRedirect = errors.New("redirect refused")
	// ErrBadAnswer: an answer came that the SDK can't trust: HTML, empty,
	// truncated, oversized, without data, or contradicting the request.
	ErrBadAnswer = errors.New("answer not usable")
	// ErrStateInUse: another run has the sync state (see [WithState]).
	ErrStateInUse = errors.New("sync state in use by another run")
	// ErrStateMismatch: the sync state is of another installation, tenant or
	// version than the run.
	ErrStateMismatch = errors.New("sync state of another installation")
	// ErrStateDamaged: the sync state can't be read, or its file is none.
	ErrStateDamaged = errors.New("sync state damaged")
	// ErrTooManyDisappeared: an export lacks so much that it is more likely to
	// be broken than right (see [Client.Deactivate]).
	ErrTooManyDisappeared = errors.New("too many records have disappeared")
	// ErrUnknownOutcome: a record was sent and no trustworthy answer came
	// back. Every [*RecordError] of status [StatusUnknown] matches it.
	// Syncing the record again is safe: upserts are idempotent by key.
	ErrUnknownOutcome = errors.New("outcome unknown")
)

// nextSteps says for each kind what someone who reads the error can do.
var nextSteps = map[error]string{
	ErrUnauthorized:    "check the API key: revoked, mistyped, or of another installation",
	ErrForbidden:       "ask the installation's owner to allow this for the API key",
	ErrQuotaExceeded:   "free space in the installation or raise its plan; updates of existing records still work",
	ErrNotFound:        "check the base URL: it ends where /api-jobs begins, for example in /functions/v1",
	ErrUnsupported:     "keep the ID and Row that Sync returns where you need them later",
	ErrNaturalKeyTaken: "rename one of the two, or give the existing row this external id in the MES",
	ErrDeletedOnServer: "restore the row in the MES or sync it under a new external id",
	ErrParentNotFound:  "sync the parent first, under the same external source, and check the reference's spelling",
	ErrMissingColumn:   "leave the field unset, or ask the server's owner to add the column, or to let a sync write it",
	ErrTooLarge:        "send fewer records a request, or shorten the record",
	ErrRequestBudget:   "run again with a new budget; what succeeded need not be sent again",
	ErrServer:          "sync again later; upserts may be repeated safely",
	ErrTimeout:         "sync again later; upserts may be repeated safely",
	ErrConnection:      "check the network and the base URL; upserts may be repeated safely",
	ErrRedirect:        "set the base URL to the address that is redirected to, if you trust it",
	ErrBadAnswer:       "check that the base URL is the API itself and no proxy or login page answers for it",
	ErrStateInUse:      "wait until it has ended; every run needs the state for itself",
	ErrStateMismatch:   "use a state of its own for each installation and tenant",
	ErrStateDamaged:    "restore the file from a backup, or move it away: the next run then sends everything once",
	ErrUnknownOutcome:  "sync the record again; upserts may be repeated safely",
}

// APIError is a call that failed: the server refused it, failed, or gave no
// usable answer. Its text is safe to log: it holds no key and no body.
type APIError struct {
	Method     string `json:"method"`
	Path       string `json:"path"`           // as sent, relative to the base URL
	StatusCode int    `json:"status_code"`    // HTTP status, 0 if no answer came
	Code       string `json:"code,omitempty"` // the server's own, such as BAD_REQUEST
	Message    string `json:"message"`        // the server's own where there is one
	RequestID  string `json:"request_id"`     // what the server's log has it under, "" if nothing was sent
	Attempts   int    `json:"attempts"`       // requests made for this call, 0 if nothing was sent

	kind  error
	field string // wire name of the field at fault, where the message tells
	cause error
	body  []byte
}

// Error tells the call, the answer, the request id and what to do next.
func (e *APIError) Error() string {
	var b strings.Builder
	b.WriteString("eryxon: ")
	b.WriteString(e.Method)
	b.WriteByte(' ')
	b.WriteString(e.Path)
	b.WriteString(": ")
	if e.StatusCode != 0 {
		fmt.Fprintf(&b, "%d ", e.StatusCode)
	}
	if e.Code != "" {
		b.WriteString(e.Code)
		b.WriteString(": ")
	}
	b.WriteString(e.Message)
	if e.Attempts > 0 {
		fmt.Fprintf(&b, " (request id %s, %s)", e.RequestID, counted(e.Attempts, "attempt"))
	}
	if step := nextSteps[e.kind]; step != "" {
		b.WriteString("; ")
		b.WriteString(step)
	}
	return b.String()
}

// Unwrap gives the kind and, where a lower layer failed, its error.
func (e *APIError) Unwrap() []error { return wrapped(e.kind, e.cause) }

// Body returns the answer's body as it came, at most 64 KiB of it, for
// diagnosis. It may hold records; the API key is struck out of it.
func (e *APIError) Body() []byte { return e.body }

// ValidationError is a record that breaks a rule: the server's (documented as
// VALIDATION_ERROR; servers also answer BAD_REQUEST "… is required") or one of
// the SDK's local rules, which cost no request.
type ValidationError struct {
	Code    string       `json:"code"` // VALIDATION_ERROR, or what the server said
	Message string       `json:"message"`
	Field   string       `json:"field,omitempty"` // wire name, "" where the server names none
	Details []FieldError `json:"details,omitempty"`
	Local   bool         `json:"local"` // refused by the SDK, nothing was sent
	Index   int          `json:"index"` // of the record in the input, from 0
	Key     Key          `json:"key"`   // of the record

	api *APIError
}

// FieldError is one complaint about one field. Entity type and index are the
// server's, within what it looked at.
type FieldError struct {
	Field       string `json:"field"`
	Message     string `json:"message"`
	Constraint  string `json:"constraint,omitempty"` // such as NOT_NULL or DATE_FORMAT
	Value       any    `json:"value,omitempty"`
	EntityType  string `json:"entityType,omitempty"`
	EntityIndex int    `json:"entityIndex"`
}

// Error tells every complaint, and the call where one was made.
func (e *ValidationError) Error() string {
	var b strings.Builder
	b.WriteString("eryxon: ")
	if e.Local {
		b.WriteString("not sent: ")
	} else if e.api != nil {
		fmt.Fprintf(&b, "%s %s: %d ", e.api.Method, e.api.Path, e.api.StatusCode)
	}
	b.WriteString(e.Code)
	b.WriteString(": ")
	b.WriteString(e.Message)
	for i, d := range e.Details {
		switch {
		case !e.Local:
			fmt.Fprintf(&b, "; %s", strings.TrimPrefix(d.Field+": "+d.Message, ": "))
		case i > 0: // the message is the first
			fmt.Fprintf(&b, "; %s %s", d.Field, d.Message)
		}
	}
	if e.api != nil {
		fmt.Fprintf(&b, " (request id %s, %s)", e.api.RequestID, counted(e.api.Attempts, "attempt"))
	}
	return b.String()
}

// Unwrap gives [ErrValidation] and, where a whole call was refused, its
// [*APIError].
func (e *ValidationError) Unwrap() []error {
	if e.api != nil {
		return []error{ErrValidation, e.api}
	}
	return []error{ErrValidation}
}

// RateLimitError says that the request quota is used up. Where Sent is false
// the limit was known and no request was spent on it.
type RateLimitError struct {
	Limit      int           `json:"limit"`       // requests a window, 0 if unknown
	Remaining  int           `json:"remaining"`   // requests left in it
	Reset      time.Time     `json:"reset"`       // when the window ends, by the local clock; zero if unknown
	RetryAfter time.Duration `json:"retry_after"` // how long to wait from now, 0 if unknown
	Sent       bool          `json:"sent"`        // the server answered 429

	api *APIError
}

// Error tells when requests are possible again.
func (e *RateLimitError) Error() string {
	var b strings.Builder
	b.WriteString("eryxon: ")
	if e.api != nil {
		fmt.Fprintf(&b, "%s %s: %d %s: %s (request id %s, %s)", e.api.Method, e.api.Path, e.api.StatusCode,
			e.api.Code, e.api.Message, e.api.RequestID, counted(e.api.Attempts, "attempt"))
	} else {
		b.WriteString("rate limit reached, request not sent")
	}
	switch {
	case e.Reset.IsZero() && e.RetryAfter > 0:
		fmt.Fprintf(&b, "; sync again after waiting for %s", e.RetryAfter)
	case e.Reset.IsZero():
		b.WriteString("; sync again later")
	default:
		fmt.Fprintf(&b, "; sync again after %s", e.Reset.UTC().Format(time.RFC3339))
		if e.RetryAfter > 0 {
			fmt.Fprintf(&b, ", in %s", e.RetryAfter.Round(time.Second))
		}
		b.WriteString(", or allow waiting with WithMaxWait")
	}
	return b.String()
}

// Unwrap gives [ErrRateLimited] and the [*APIError] of a 429.
func (e *RateLimitError) Unwrap() []error {
	if e.api != nil {
		return []error{ErrRateLimited, e.api}
	}
	return []error{ErrRateLimited}
}

// RecordError is why one record did not arrive, or is not known to have.
type RecordError struct {
	Entity    Entity `json:"entity"`
	Index     int    `json:"index"` // of the record in the input, from 0, or of a nested one in its list; -1 for one that SyncAll lifted out of another
	Key       Key    `json:"key"`
	Status    Status `json:"status"`
	Code      string `json:"code,omitempty"`       // the server's code, where it gave one
	Field     string `json:"field,omitempty"`      // wire name of the field at fault, where known
	Message   string `json:"message,omitempty"`    // what the server, or the SDK, says of this record
	RequestID string `json:"request_id,omitempty"` // of the request that carried it

	kind  error
	cause error
}

// Error tells the record, its status and the reason.
func (e *RecordError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "eryxon: %s %s", e.Entity.singular(), e.Key)
	if e.Index >= 0 {
		fmt.Fprintf(&b, " (record %d)", e.Index)
	}
	fmt.Fprintf(&b, ": %s", e.Status)
	if e.cause != nil && e.kind == nil { // with a kind of its own it has a text of its own
		b.WriteString(": ")
		b.WriteString(strings.TrimPrefix(e.cause.Error(), "eryxon: "))
		if e.Status == StatusUnknown && !advises(e.cause) {
			b.WriteString("; ")
			b.WriteString(nextSteps[ErrUnknownOutcome])
		}
		return b.String()
	}
	b.WriteString(": ")
	b.WriteString(e.Message)
	if e.RequestID != "" {
		fmt.Fprintf(&b, " (request id %s)", e.RequestID)
	}
	step := nextSteps[e.kind]
	if e.Status == StatusUnknown {
		step = nextSteps[ErrUnknownOutcome]
	}
	if step != "" {
		b.WriteString("; ")
		b.WriteString(step)
	}
	return b.String()
}

// advises reports an error whose text says what to do next.
func advises(err error) bool {
	var limited *RateLimitError
	if errors.As(err, &limited) {
		return true
	}
	for kind := range nextSteps {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// Unwrap gives the cause, the kind, and [ErrUnknownOutcome] where the status
// is unknown.
func (e *RecordError) Unwrap() []error {
	if e.Status == StatusUnknown {
		return wrapped(ErrUnknownOutcome, e.kind, e.cause)
	}
	return wrapped(e.kind, e.cause)
}

// PartialError stands beside the result of a sync in which some records did
// not succeed: failed, unknown, or not sent. The result beside it is complete.
type PartialError struct {
	Entity   Entity         `json:"entity,omitempty"` // "" where the records are of several
	Total    int            `json:"total"`            // records handed in, and nested ones that failed by themselves
	Failed   int            `json:"failed"`           // of them did not succeed
	Failures []*RecordError `json:"failures"`         // in the order of the input; of SyncAll's, the first 100
}

// take counts an outcome, and lists its failures up to so many in all.
func (e *PartialError) take(o *Outcome, most int) {
	if e.Total == 0 {
		e.Entity = o.Entity
	} else if o.Entity != e.Entity {
		e.Entity = ""
	}
	e.Total++
	for _, f := range o.failures() {
		e.Failed++
		if f != o { // it was nested
			e.Total++
			e.Entity = ""
		}
		if err, ok := f.recordError(); ok && len(e.Failures) < most {
			e.Failures = append(e.Failures, err)
		}
	}
}

// Error tells how many failed, and the first reasons.
func (e *PartialError) Error() string {
	const shown = 3
	var b strings.Builder
	noun := "record"
	if e.Entity != "" {
		noun = e.Entity.singular()
	}
	fmt.Fprintf(&b, "eryxon: %s of %d did not succeed", counted(e.Failed, noun), e.Total)
	for i, f := range e.Failures {
		if i == shown {
			fmt.Fprintf(&b, "; and %d more", e.Failed-shown)
			break
		}
		b.WriteString("; ")
		b.WriteString(strings.TrimPrefix(f.Error(), "eryxon: "))
	}
	return b.String()
}

// Unwrap gives the records' errors, each a [*RecordError].
func (e *PartialError) Unwrap() []error {
	errs := make([]error, len(e.Failures))
	for i, f := range e.Failures {
		errs[i] = f
	}
	return errs
}

func wrapped(errs ...error) []error {
	out := errs[:0]
	for _, err := range errs {
		if err != nil {
			out = append(out, err)
		}
	}
	return out
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
