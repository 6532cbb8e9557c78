package eryxon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"strings"
	"text/tabwriter"
	"time"
)

// Health says how one of the things that [Client.Doctor] looks at is.
type Health uint8

// The healths. The zero Health is not checked: what nobody has looked at is
// not well.
const (
	// HealthNotChecked: it could not be looked at, or told; Detail says why.
	HealthNotChecked Health = iota
	// HealthOK: nothing is wrong with it.
	HealthOK
	// HealthWarning: syncs work, and may not for long, or not all of them.
	HealthWarning
	// HealthProblem: syncs fail, or some of them do.
	HealthProblem

	healthCount = int(HealthProblem) + 1
)

var healthNames = [healthCount]string{"not checked", "ok", "warning", "problem"}

// String returns the health in lower case, such as "not checked".
func (h Health) String() string {
	if int(h) < healthCount {
		return healthNames[h]
	}
	return fmt.Sprintf("Health(%d)", uint8(h))
}

// MarshalText returns what String does.
func (h Health) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (h *Health) UnmarshalText(text []byte) error {
	for i, name := range healthNames {
		if name == string(text) {
			*h = Health(i)
			return nil
		}
	}
	return fmt.Errorf("eryxon: %.40q is not a health", text)
}

// Finding is what [Client.Doctor] found about one thing. Its texts are safe to
// log: they hold neither the API key nor a record.
type Finding struct {
	// Name is "base URL", "TLS", "API key", "release", "columns", "quota",
	// "clock" or "sync state".
	Name   string `json:"name"`
	Health Health `json:"health"`
	Detail string `json:"detail"`         // what was found, or why nothing was
	Next   string `json:"next,omitempty"` // what to do about it, "" where there is nothing to do
	// Err is the error behind a warning, a problem or a check that was broken
	// off, where there is one; it answers to [errors.Is] for its kind.
	Err error `json:"-"`
}

// Diagnosis is what [Client.Doctor] found: it prints as a table and marshals
// to JSON.
type Diagnosis struct {
	BaseURL  string        `json:"base_url"`
	Started  time.Time     `json:"started"`
	Duration time.Duration `json:"duration_ns"`
	Requests int           `json:"requests"` // made, each one of the quota: 3 at most
	Release  Release       `json:"release"`  // what the server is recognised as, "" where it is not
	Findings []Finding     `json:"findings"` // one for each thing, always in the same order
	// Ended is what ended the diagnosis early (the context, or an option that
	// can't be), nil if it came to its end.
	Ended error `json:"-"`
}

// Healthy reports that the diagnosis came to its end and found no problem.
// Warnings, and things that could not be checked, do not count.
func (d *Diagnosis) Healthy() bool { return d.Err() == nil }

// Err returns nil if Healthy; otherwise an error that names every problem with
// its next step, and that answers to [errors.Is] and [errors.As] for the kinds
// and particulars of all of them, such as [ErrUnauthorized] or
// [ErrStateDamaged], and for what ended the diagnosis early.
func (d *Diagnosis) Err() error {
	var e diagnosisError
	var texts []string
	for i := range d.Findings {
		f := &d.Findings[i]
		if f.Health != HealthProblem {
			continue
		}
		text := f.Name + ": " + f.Detail
		if f.Next != "" {
			text += "; " + f.Next
		}
		texts = append(texts, text)
		if f.Err != nil {
			e.causes = append(e.causes, f.Err)
		}
	}
	problems := len(texts)
	if d.Ended != nil {
		texts = append(texts, "not finished: "+strings.TrimPrefix(d.Ended.Error(), "eryxon: "))
		e.causes = append(e.causes, d.Ended)
	}
	if len(texts) == 0 {
		return nil
	}
	e.text = "eryxon: diagnosis: " + strings.Join(texts, " | ")
	if problems > 1 {
		e.text = fmt.Sprintf("eryxon: diagnosis: %s: %s", counted(problems, "problem"), strings.Join(texts, " | "))
	}
	return &e
}

// diagnosisError is the problems of a diagnosis.
type diagnosisError struct {
	text   string
	causes []error
}

func (e *diagnosisError) Error() string   { return e.text }
func (e *diagnosisError) Unwrap() []error { return e.causes }

// String returns the diagnosis as a table for people: health, name and finding
// of each thing, and the next step below it.
func (d *Diagnosis) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, f := range d.Findings {
		fmt.Fprintf(w, "%s\t%s\t%s\n", f.Health, f.Name, f.Detail)
		if f.Next != "" {
			fmt.Fprintf(w, "\t\t-> %s\n", f.Next)
		}
	}
	_ = w.Flush() // a strings.Builder takes everything
	if d.Ended != nil {
		fmt.Fprintf(&b, "not finished: %s\n", strings.TrimPrefix(d.Ended.Error(), "eryxon: "))
	}
	return b.String()
}

const (
	// doctorPatience bounds each of Doctor's requests: the lists that it asks
	// for are short, and a server that takes longer is ill.
	doctorPatience = 30 * time.Second
	// certWarning is how long before its end a certificate is worth a warning.
	certWarning = 14 * 24 * time.Hour
	// quotaWarning is how few requests left are worth a warning.
	quotaWarning = 10
	// Clocks further apart than that are worth a warning, or are a problem.
	clockWarning = 30 * time.Second
	clockProblem = 5 * time.Minute
)

// Doctor finds out what is wrong where syncs fail, and says of each finding
// what to do next. It looks at the base URL, the TLS certificate, the API key,
// the server's release, database columns that the server writes and lacks, the
// request quota, the clocks of both machines, and the sync state.
//
// It writes nothing to the server. It makes GET requests only, each once and
// for at most 30 s: 3 of the quota at most, one where fewer than 10 are known
// to be left, none where all are known to be used up or reserved. What can't be
// looked at because something before it fails is not checked, and the finding
// says so. The result is never nil, and [Diagnosis.Err] is its problems as one
// error; print it to read it:
//
//	diagnosis := client.Doctor(ctx)
//	fmt.Print(diagnosis)
//	return diagnosis.Err()
//
// The sync state's lock is taken for as long as it is looked at, so a run that
// starts meanwhile fails with [ErrStateInUse].
func (c *Client) Doctor(ctx context.Context, opts ...BulkOption) *Diagnosis {
	x := &examination{co: c.core, cfg: c.core.cfg, d: &Diagnosis{BaseURL: c.core.base, Started: time.Now()}}
	defer func() { x.d.Duration = time.Since(x.d.Started) }()
	if err := applyAll(&x.cfg, opts); err != nil {
		x.d.Ended = err
		for _, name := range []string{checkBase, checkTLS, checkKeyName, checkRelease, checkColumns, checkQuota, checkClock, checkState} {
			x.add(unchecked(name, "an option can't be: "+strings.TrimPrefix(err.Error(), "eryxon: ")))
		}
		return x.d
	}
	// A failure is a finding: it is neither repeated nor waited for.
	x.cfg.retry.MaxAttempts, x.cfg.maxWait = 1, 0
	x.cfg.attemptTimeout = min(x.cfg.attemptTimeout, doctorPatience)
	x.cfg.startBudget()

	// First, for it knows what earlier runs have spent of the quota.
	state, header := diagnoseState(ctx, x.cfg.state, c.core.base)
	if header != nil {
		c.core.shared.limiter.resume(header.Quota, time.Now())
		c.core.shared.dialect.assume(header.Server)
	}
	cells := x.contact(ctx)
	x.release(cells)
	x.columns(ctx, cells)
	x.quota()
	x.skew()
	x.add(state)
	x.d.Release = c.core.release()
	return x.d
}

// The names of the findings.
const (
	checkBase    = "base URL"
	checkTLS     = "TLS"
	checkKeyName = "API key"
	checkRelease = "release"
	checkColumns = "columns"
	checkQuota   = "quota"
	checkClock   = "clock"
	checkState   = "sync state"
)

func fine(name, detail string) Finding { return Finding{Name: name, Health: HealthOK, Detail: detail} }

func unchecked(name, why string) Finding {
	return Finding{Name: name, Health: HealthNotChecked, Detail: why}
}

// brokenOff is a check that the context did not live to see.
func brokenOff(name string, err error) Finding {
	return Finding{Name: name, Health: HealthNotChecked, Detail: "broken off: " + err.Error(), Err: err}
}

func warning(name, detail, next string, err error) Finding {
	return Finding{name, HealthWarning, detail, next, err}
}

func problem(name, detail, next string, err error) Finding {
	return Finding{name, HealthProblem, detail, next, err}
}

// examination is a diagnosis in the making.
type examination struct {
	co  *core
	cfg config
	d   *Diagnosis

	cells    cellsShape
	answered bool  // by whatever
	refused  error // for the request quota or the plan's limits
	clock    clockReading
}

// add enters a finding. Its texts may repeat what servers and certificates say.
func (x *examination) add(f Finding) {
	f.Detail, f.Next = x.co.fit(f.Detail), x.co.fit(f.Next)
	if f.Health == HealthNotChecked && f.Err != nil {
		x.d.Ended = f.Err
	}
	x.d.Findings = append(x.d.Findings, f)
}

// get makes one request and takes from its answer what all answers tell.
func (x *examination) get(ctx context.Context, path string, decode func([]byte) (*envelope, error)) (*result, *wireSight) {
	sight := &wireSight{}
	cl := call{method: http.MethodGet, path: path, repeatable: true, decode: decode}
	before := time.Now()
	out := x.co.do(httptrace.WithClientTrace(ctx, sight.trace()), &x.cfg, &cl)
	after := time.Now()
	x.d.Requests += out.attempts
	x.answered = x.answered || out.status != 0
	if out.kind == ErrRateLimited || out.kind == ErrQuotaExceeded {
		x.refused = out.err
	}
	x.clock.read(out, sight, before, after)
	return out, sight
}

func (x *examination) limit(now time.Time) RateLimit {
	return x.co.shared.limiter.snapshot(x.cfg.allowance(), now)
}

// quota tells what is left of the requests.
func (x *examination) quota() {
	now := time.Now()
	limit := x.limit(now)
	until := ""
	if !limit.Reset.IsZero() {
		until = fmt.Sprintf(" until %s, for %s", moment(limit.Reset), span(limit.Reset.Sub(now)))
	}
	of := ""
	if limit.Limit > 0 {
		of = fmt.Sprintf(" of %d", limit.Limit)
	}
	const next = "wait until it is renewed, or raise the plan; the count is the installation's, so see who else spends it"
	var limited *RateLimitError
	switch {
	case errors.Is(x.refused, ErrQuotaExceeded):
		x.add(problem(checkQuota, "a limit of the installation's plan is reached: "+messageOf(x.refused), nextSteps[ErrQuotaExceeded], x.refused))
	case errors.As(x.refused, &limited) && !limited.Sent && limited.Remaining > 0:
		x.add(problem(checkQuota, fmt.Sprintf("%s left%s%s, and WithQuotaReserve leaves %d to others", counted(limited.Remaining, "request"), of, until, x.cfg.reserve), next, x.refused))
	case errors.As(x.refused, &limited):
		if until == "" && limited.RetryAfter > 0 {
			until = " for " + span(limited.RetryAfter)
		}
		x.add(problem(checkQuota, "no request is left"+of+until, next, x.refused))
	case limit.Known && limit.Remaining == 0:
		refusal := &RateLimitError{Limit: limit.Limit, Reset: limit.Reset}
		if until != "" {
			refusal.RetryAfter = limit.Reset.Sub(now)
		}
		x.add(problem(checkQuota, "no request is left"+of+until, next, refusal))
	case limit.Known && limit.Remaining-x.cfg.reserve < quotaWarning:
		reserved := ""
		if x.cfg.reserve > 0 {
			reserved = fmt.Sprintf(", %d of them for others", x.cfg.reserve)
		}
		x.add(warning(checkQuota, fmt.Sprintf("%s left%s%s%s", counted(limit.Remaining, "request"), of, until, reserved),
			"ask EstimateRequests what a run costs, and wait for the next window or raise the plan", nil))
	case limit.Known:
		x.add(fine(checkQuota, fmt.Sprintf("%s left%s%s", counted(limit.Remaining, "request"), of, until)))
	case x.answered:
		x.add(fine(checkQuota, "not told by the server yet; many tell it only once it is used up"))
	default:
		x.add(unchecked(checkQuota, "the server has not told it"))
	}
}

// clockReading compares the two clocks: the server's is ahead by offset, give
// or take doubt.
type clockReading struct {
	known         bool
	cached        bool
	offset, doubt time.Duration
}

// read takes the Date of an answer. It was set some time between the request's
// going out and the answer's coming in, and says the second only; of several
// answers the quickest says most.
func (r *clockReading) read(out *result, sight *wireSight, before, after time.Time) {
	if out.status == 0 {
		return
	}
	date, err := http.ParseTime(out.header.Get("Date"))
	if err != nil {
		return
	}
	if out.header.Get("Age") != "" {
		r.cached = true // it says when a cache got the answer
		return
	}
	sent, came := sight.times(before, after)
	half := came.Sub(sent) / 2
	const second = time.Second
	if doubt := half + second/2; !r.known || doubt < r.doubt {
		r.known, r.doubt = true, doubt
		r.offset = date.Add(second / 2).Sub(sent.Add(half))
	}
}

// skew tells how far the clocks are apart.
func (x *examination) skew() {
	r := x.clock
	switch {
	case !r.known && r.cached:
		x.add(unchecked(checkClock, "the answers come from a cache"))
		return
	case !r.known:
		x.add(unchecked(checkClock, "no answer has told the server's time"))
		return
	}
	apart := r.offset.Abs() - r.doubt // at least
	if apart <= 0 {
		x.add(fine(checkClock, "agrees with the server's to within "+span(max(r.offset.Abs()+r.doubt, time.Second))))
		return
	}
	direction := "behind"
	if r.offset < 0 {
		direction = "ahead of"
	}
	detail := fmt.Sprintf("this machine's is %s %s the server's, give or take %s", span(r.offset.Abs()), direction, span(r.doubt))
	const next = "set both clocks from a time server; dates, quota windows and certificates are judged by both"
	switch {
	case apart > clockProblem:
		x.add(problem(checkClock, detail, next, nil))
	case apart > clockWarning:
		x.add(warning(checkClock, detail, next, nil))
	default:
		x.add(fine(checkClock, detail))
	}
}

// diagnoseState looks at the sync state, which may be nil, and leaves it as it
// is. The header is nil where it tells nothing.
func diagnoseState(ctx context.Context, st State, base string) (f Finding, header *stateHeader) {
	if st == nil {
		return unchecked(checkState, "no sync state was given: see WithState"), nil
	}
	if err := ctx.Err(); err != nil {
		return brokenOff(checkState, err), nil
	}
	ill := func(what string, err error) Finding {
		next := "see that its file is there and that this user may read and write it"
		for _, kind := range []error{ErrStateDamaged, ErrStateMismatch, ErrStateInUse} {
			if errors.Is(err, kind) {
				next = nextSteps[kind]
				break
			}
		}
		return problem(checkState, what+": "+strings.TrimPrefix(err.Error(), "eryxon: "), next, err)
	}
	if err := st.Lock(); errors.Is(err, ErrStateInUse) {
		return warning(checkState, "another run has it", nextSteps[ErrStateInUse], err), nil
	} else if err != nil {
		return ill("can't be opened", err), nil
	}
	defer func() {
		if err := st.Unlock(); err != nil && f.Health != HealthProblem {
			f = ill("can't be given back", err)
		}
	}()
	raw, err := st.Header()
	if err == nil && raw != nil {
		header, err = readStateHeader(raw)
	}
	if err != nil {
		return ill("can't be read", err), nil
	}
	if header != nil && header.BaseURL != base {
		return ill("can't be used here", fmt.Errorf("it is of %s: %w", header.BaseURL, ErrStateMismatch)), nil
	}
	return entriesFinding(ctx, st, ill), header
}

// entriesFinding reads all entries of a state.
func entriesFinding(ctx context.Context, st State, ill func(string, error) Finding) Finding {
	var kept []string
	var oldest, newest time.Time
	for _, e := range entityOrder {
		n := 0
		for entry, err := range st.Entries(e) {
			if err != nil {
				return ill("can't be read after "+counted(n, e.singular()), err)
			}
			if err := ctx.Err(); err != nil {
				return brokenOff(checkState, err)
			}
			n++
			switch t := entry.Time; {
			case t.IsZero():
			case oldest.IsZero():
				oldest, newest = t, t
			case t.Before(oldest):
				oldest = t
			case t.After(newest):
				newest = t
			}
		}
		if n > 0 {
			kept = append(kept, counted(n, e.singular()))
		}
	}
	switch {
	case len(kept) == 0:
		return fine(checkState, "empty: the next run sends everything")
	case oldest.IsZero():
		return fine(checkState, strings.Join(kept, ", ")+"; none was acknowledged yet")
	}
	return fine(checkState, fmt.Sprintf("%s; acknowledged between %s and %s", strings.Join(kept, ", "), moment(oldest), moment(newest)))
}

// moment is a point in time as findings have it.
func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// span is a time's length as people say it: days where there are some.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return counted(int(d/(24*time.Hour)), "day")
	case d >= time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	case d >= time.Second:
		return d.Round(time.Second).String()
	}
	return d.Round(time.Millisecond).String()
}
