package eryxon

import (
	"cmp"
	"context"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// RateLimit is what the server last said of the request quota, and what this
// client has spent. The documented headers X-RateLimit-Limit, -Remaining and
// -Reset are read in every format seen or likely: ISO 8601, HTTP-date, epoch
// seconds or milliseconds, seconds from now. Servers in the field send them
// with a 429 only; until one does, Known is false, unless the client was told the quota
// (see [WithDailyQuota]). A 429 that tells a reset or a
// Retry-After and not what is left means that nothing is until then.
type RateLimit struct {
	Known      bool      `json:"known"`       // Remaining is known and the window has not ended
	Limit      int       `json:"limit"`       // requests a window, 0 if unknown
	Remaining  int       `json:"remaining"`   // requests left, counting those this client sent since; only where Known
	Reset      time.Time `json:"reset"`       // end of the window by the local clock; zero if unknown
	ObservedAt time.Time `json:"observed_at"` // when a header was last read; zero if never
	Requests   int64     `json:"requests"`    // requests made by this client and its variants, retries included
}

// sameWindow is how far two reports of one window's end may lie apart: formats
// in seconds from now move by the time that an answer takes.
const sameWindow = 2 * time.Second

// limiter tracks the quota and holds back what it would refuse.
type limiter struct {
	mu       sync.Mutex
	requests int64
	limit    int
	known    bool
	left     int
	reset    time.Time
	observed time.Time
	newest   int64 // sequence number of the newest attempt that told the remaining
	// paused is when requests are possible again by a 429 that does not tell
	// how many are left. It ends whatever is known of the window.
	paused time.Time

	window time.Time // first request of the current day's window, zero before it
	spent  int       // requests in it, those of earlier runs included
	kept   int       // of them, how many the state has
}

// quotaWindow is how long the server's window lasts, from its first request.
const quotaWindow = 24 * time.Hour

// allowance is what a call may take of the quota.
type allowance struct {
	plan    int // requests a window, 0 where nobody has told
	reserve int // of them, to be left for others
	maxWait time.Duration
	// maxPause is how long to wait, if more than maxWait, after a 429 that does
	// not tell what is left: as long as a retry would.
	maxPause time.Duration
}

// remaining is what is left of the allowance, and till when; -1 where it is not
// known.
func (l *limiter) remaining(a allowance, now time.Time) (left int, reset time.Time) {
	l.expire(now)
	left = -1
	if l.known {
		left, reset = l.left, l.reset
	}
	if a.plan > 0 {
		if planned := max(0, a.plan-l.spent); left < 0 || planned < left {
			left, reset = planned, time.Time{}
			if !l.window.IsZero() {
				reset = l.window.Add(quotaWindow)
			}
		}
	}
	if !l.paused.IsZero() && (left != 0 || reset.Before(l.paused)) {
		left, reset = 0, l.paused
	}
	return left, reset
}

// spending is what a state keeps of the quota.
type spending struct {
	Window time.Time `json:"window"` // first request of the window, zero before it
	Spent  int       `json:"spent"`
	// What the server last said, where its window has not ended.
	Known bool      `json:"known"`
	Limit int       `json:"limit"`
	Left  int       `json:"left"`
	Reset time.Time `json:"reset"`
	// Till when it turns requests away without a word on what is left.
	Paused time.Time `json:"paused,omitzero"`
}

func (l *limiter) spending() spending {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(time.Now())
	return spending{Window: l.window, Spent: l.spent, Known: l.known, Limit: l.limit, Left: l.left, Reset: l.reset, Paused: l.paused}
}

// resume goes on from what earlier runs have spent. Other runs may have used
// the state since this client did.
func (l *limiter) resume(s spending, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(now)
	if s.Window.After(now) {
		s.Window = now // the clock was set back since
	}
	if !s.Window.IsZero() && now.Before(s.Window.Add(quotaWindow)) {
		if l.window.IsZero() || s.Window.Before(l.window) {
			l.window = s.Window
		}
		l.spent += max(0, s.Spent-l.kept)
		l.kept = max(l.kept, s.Spent)
	}
	if s.Known && !l.known && (s.Reset.IsZero() || now.Before(s.Reset)) && s.Reset.Sub(now) < farthest {
		l.known, l.left, l.reset, l.limit = true, s.Left, s.Reset, s.Limit
	}
	if s.Paused.After(l.paused) && s.Paused.Sub(now) < farthest {
		l.paused = s.Paused
	}
}

// keep notes that the state has what was spent.
func (l *limiter) keep(s spending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.window.Equal(s.Window) {
		l.kept = max(l.kept, s.Spent)
	}
}

func (l *limiter) snapshot(a allowance, now time.Time) RateLimit {
	l.mu.Lock()
	defer l.mu.Unlock()
	left, reset := l.remaining(a, now)
	r := RateLimit{Limit: cmp.Or(l.limit, a.plan), Reset: cmpTime(reset, l.reset), ObservedAt: l.observed, Requests: l.requests, Known: left >= 0}
	r.Remaining = max(0, left)
	return r
}

// cmpTime returns the first that is not zero.
func cmpTime(t, fallback time.Time) time.Time {
	if t.IsZero() {
		return fallback
	}
	return t
}

// expire forgets a window that has ended. What the next one holds is unknown
// until the server tells.
func (l *limiter) expire(now time.Time) {
	if !l.reset.IsZero() && !now.Before(l.reset) {
		l.known, l.reset = false, time.Time{}
	}
	if !now.Before(l.paused) {
		l.paused = time.Time{}
	}
	if !l.window.IsZero() && !now.Before(l.window.Add(quotaWindow)) {
		l.window, l.spent, l.kept = time.Time{}, 0, 0
	}
}

// acquire charges one attempt and returns its sequence number. Where the quota
// is known to be used up, but for the reserve, or a 429 has asked for a pause, it
// waits for the end of that, at most maxWait, or fails without charging.
func (l *limiter) acquire(ctx context.Context, a allowance) (seq int64, waited time.Duration, err error) {
	for {
		now := time.Now()
		l.mu.Lock()
		left, reset := l.remaining(a, now)
		untold := left == 0 && a.reserve == 0 && reset.IsZero() // the next answer tells when it ends
		if left < 0 || left > a.reserve || untold {
			if l.known && l.left > 0 {
				l.left--
			}
			if l.window.IsZero() {
				l.window = now
			}
			l.spent++
			l.requests++
			seq = l.requests
			l.mu.Unlock()
			return seq, waited, nil
		}
		refused := &RateLimitError{Limit: cmp.Or(l.limit, a.plan), Remaining: left, Reset: reset, RetryAfter: max(0, reset.Sub(now))}
		patience := a.maxWait
		if reset.Equal(l.paused) {
			patience = max(patience, a.maxPause)
		}
		l.mu.Unlock()

		if reset.IsZero() || refused.RetryAfter > patience || !endsBefore(ctx, refused.Reset) {
			return 0, waited, refused
		}
		if err := sleep(ctx, refused.RetryAfter); err != nil {
			return 0, waited, err
		}
		waited += refused.RetryAfter
	}
}

// endsBefore reports whether ctx lives to see t.
func endsBefore(ctx context.Context, t time.Time) bool {
	deadline, ok := ctx.Deadline()
	return !ok || t.Before(deadline)
}

// limitReport is what one answer says of the quota.
type limitReport struct {
	limit      int // 0: not said
	left       int // -1: not said
	reset      time.Time
	retryAfter time.Duration // -1: not said
	skew       time.Duration // how far the server's clock is ahead
	refused    bool          // a 429 that does not say what is left
}

func (r limitReport) silent() bool {
	return r.limit == 0 && r.left < 0 && r.reset.IsZero()
}

// observe takes in the report of the attempt with the given sequence number.
// Answers may come out of order: within a window the lower remaining counts, a
// newer window replaces, an older one is ignored.
func (l *limiter) observe(seq int64, r limitReport, now time.Time) {
	if r.silent() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(now)
	l.observed = now
	if r.limit > 0 {
		l.limit = r.limit
	}
	if r.left < 0 {
		switch {
		case r.refused && r.reset.After(l.paused):
			l.paused = r.reset
		case !r.refused && r.reset.After(l.reset) && !l.known:
			l.reset = r.reset
		}
		return
	}
	switch {
	case !l.known:
		l.left = r.left
	case r.reset.IsZero() || l.reset.IsZero():
		// Nothing tells the windows apart: a newer attempt that sees more
		// left has seen a new window.
		if seq > l.newest || r.left < l.left {
			l.left = r.left
		}
	case r.reset.After(l.reset.Add(sameWindow)):
		l.left = r.left
	case r.reset.Before(l.reset.Add(-sameWindow)):
		return
	default:
		l.left = min(l.left, r.left)
		r.reset = l.reset
	}
	l.known = true
	if !r.reset.IsZero() {
		l.reset = r.reset
	}
	l.newest = max(l.newest, seq)
}

// metered reports whether an answer had the header of the limit: no server in the field
// has been seen to send it.
func (l *limiter) metered() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limit > 0
}

// readLimit reads the quota out of an answer's headers. Absolute times are
// moved by the skew between the server's Date and the local clock. What can't
// be read counts as not said.
func readLimit(h http.Header, now time.Time) limitReport {
	skew := clockSkew(h, now)
	r := limitReport{left: -1, retryAfter: -1, skew: skew}
	if n, ok := parseCount(h.Get("X-RateLimit-Limit")); ok {
		r.limit = n
	}
	if n, ok := parseCount(h.Get("X-RateLimit-Remaining")); ok {
		r.left = n
	}
	if t, ok := parseMoment(h.Get("X-RateLimit-Reset"), now, skew); ok {
		r.reset = t
	}
	r.retryAfter = parseRetryAfter(h.Get("Retry-After"), now, skew)
	return r
}

// clockSkew is how far the server's clock is ahead. Less than a few seconds is
// the resolution of the Date header and the time on the wire, not skew.
func clockSkew(h http.Header, now time.Time) time.Duration {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	skew := date.Sub(now)
	if skew.Abs() < 3*time.Second {
		return 0
	}
	return skew
}

// parseCount reads a non-negative count. RFC drafts allow "100, 100;w=86400":
// the first number is the limit.
func parseCount(s string) (int, bool) {
	s, _, _ = strings.Cut(s, ",")
	s, _, _ = strings.Cut(s, ";")
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n < 0 {
		return 0, false
	}
	return n, true
}

const (
	// Numbers below epochFloor are seconds from now (three years and more),
	// from milliFloor on they are epoch milliseconds.
	epochFloor = 100_000_000
	milliFloor = 100_000_000_000
	// farthest is how far ahead a reset may lie to be believed.
	farthest = 366 * 24 * time.Hour
)

// parseMoment reads a point in time in any of the formats that servers use,
// and refuses one that is absurdly far from now.
func parseMoment(s string, now time.Time, skew time.Duration) (time.Time, bool) {
	s = strings.Trim(strings.TrimSpace(s), `"`)
	if s == "" {
		return time.Time{}, false
	}
	var t time.Time
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		switch {
		case math.IsNaN(n) || n < 0 || n > 1e14:
			return time.Time{}, false
		case n < epochFloor:
			t = now.Add(time.Duration(n * float64(time.Second)))
		case n < milliFloor:
			t = time.UnixMilli(int64(n * 1000)).Add(-skew)
		default:
			t = time.UnixMilli(int64(n)).Add(-skew)
		}
	} else if t, err = parseTime(s); err == nil {
		t = t.Add(-skew)
	} else if t, err = http.ParseTime(s); err == nil {
		t = t.Add(-skew)
	} else {
		return time.Time{}, false
	}
	if d := t.Sub(now); d > farthest || d < -farthest {
		return time.Time{}, false
	}
	return t, true
}

// parseRetryAfter reads seconds or an HTTP-date; -1 where there is neither.
func parseRetryAfter(s string, now time.Time, skew time.Duration) time.Duration {
	s = strings.TrimSpace(s)
	if s == "" {
		return -1
	}
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		if math.IsNaN(n) || n < 0 || n > farthest.Seconds() {
			return -1
		}
		return time.Duration(n * float64(time.Second))
	}
	t, err := http.ParseTime(s)
	if err != nil {
		return -1
	}
	wait := t.Add(-skew).Sub(now)
	if wait > farthest {
		return -1
	}
	return max(0, wait)
}

// completed is the report of a 429: its body may tell what its headers don't,
// and where neither tells what is left, nothing is. The end of the window and
// the time to wait stand for each other; of both, the later counts.
func (r limitReport) completed(body []byte, now time.Time) limitReport {
	var answer struct {
		Error struct {
			Info struct {
				Remaining  looseText `json:"remaining"`
				ResetAt    looseText `json:"resetAt"`
				RetryAfter looseText `json:"retryAfter"`
			} `json:"rateLimitInfo"`
		} `json:"error"`
	}
	_ = json.Unmarshal(body, &answer) // what can't be read is not said
	info := answer.Error.Info
	if n, ok := parseCount(string(info.Remaining)); ok && r.left < 0 {
		r.left = n
	}
	if r.retryAfter < 0 {
		r.retryAfter = parseRetryAfter(string(info.RetryAfter), now, r.skew)
	}
	if r.reset.IsZero() {
		r.reset, _ = parseMoment(string(info.ResetAt), now, r.skew)
	}
	if r.left > 0 {
		return r // it is not the window that refuses
	}
	r.refused = r.left < 0
	if !r.reset.IsZero() {
		r.retryAfter = max(r.retryAfter, r.reset.Sub(now))
	}
	if end := now.Add(r.retryAfter); r.retryAfter > 0 && r.reset.Before(end) {
		r.reset = end
	}
	return r
}
