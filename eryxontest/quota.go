package eryxontest

import (
	"math"
	"net/http"
	"strconv"
	"time"
)

// ResetFormat is how X-RateLimit-Reset is written. The API reference does not
// say; the servers in the field write [ResetISO8601].
type ResetFormat int

// The formats of X-RateLimit-Reset.
const (
	ResetISO8601      ResetFormat = iota // 2026-11-24T10:52:29.866Z
	ResetHTTPDate                        // Tue, 24 Nov 2026 10:52:29 GMT, rounded up
	ResetEpochSeconds                    // 1795517550, rounded up
	ResetEpochMillis                     // 1795517549866
	ResetDeltaSeconds                    // seconds from now, rounded up
)

// WithQuota limits the tenant to that many requests in a window of time, which
// starts with the first request and is fixed: no request before its end is
// spared by an earlier one growing old. Every request that arrives is charged,
// failing ones too, unless it is answered 429. Zero requests, or none of a
// window, means no limit.
func WithQuota(requests int, window time.Duration) Option {
	return func(s *Server) { s.cfg.quota, s.cfg.window = requests, window }
}

// WithResetFormat sets how X-RateLimit-Reset is written; [ResetISO8601] unless
// said otherwise. It has no effect without [WithQuota].
func WithResetFormat(f ResetFormat) Option {
	return func(s *Server) { s.cfg.reset = f }
}

// WithHeadersAlways says whether every answer carries the rate-limit headers
// (as documented, and the default for [Documented]) or only the 429 does,
// without the limit (as the servers in the field do, and the default for the
// other releases). It has no effect without [WithQuota].
func WithHeadersAlways(always bool) Option {
	return func(s *Server) { s.cfg.headersAlways, s.cfg.headersSet = always, true }
}

type quotaState struct {
	start time.Time
	used  int
}

func (s *Server) limited() bool { return s.cfg.quota > 0 && s.cfg.window > 0 }

// charge takes one request off the quota; false means there was none left.
// s.mu is held.
func (s *Server) charge(now time.Time) bool {
	if !s.limited() {
		return true
	}
	q := &s.quota
	if q.start.IsZero() || !now.Before(q.start.Add(s.cfg.window)) {
		q.start, q.used = now, 0
	}
	if q.used >= s.cfg.quota {
		return false
	}
	q.used++
	return true
}

// quotaHeaders adds the rate-limit headers to an answer; s.mu is held.
func (s *Server) quotaHeaders(h http.Header, status int, now time.Time) {
	exhausted := status == http.StatusTooManyRequests
	if !s.limited() || s.quota.start.IsZero() || !exhausted && !s.cfg.headersAlways {
		return
	}
	if h["X-Ratelimit-Remaining"] != nil || h["X-Ratelimit-Reset"] != nil {
		return // a fault has set its own
	}
	if s.cfg.headersAlways {
		h.Set("X-RateLimit-Limit", strconv.Itoa(s.cfg.quota))
	}
	h.Set("X-RateLimit-Remaining", strconv.Itoa(max(s.cfg.quota-s.quota.used, 0)))
	h.Set("X-RateLimit-Reset", s.cfg.reset.format(s.quota.start.Add(s.cfg.window), now))
}

func (f ResetFormat) format(reset, now time.Time) string {
	switch f {
	case ResetHTTPDate:
		return ceilSecond(reset).UTC().Format(http.TimeFormat)
	case ResetEpochSeconds:
		return strconv.FormatInt(ceilSecond(reset).Unix(), 10)
	case ResetEpochMillis:
		return strconv.FormatInt(reset.UnixMilli(), 10)
	case ResetDeltaSeconds:
		return strconv.Itoa(secondsUntil(reset, now))
	default:
		return isoMillis(reset)
	}
}

func isoMillis(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func ceilSecond(t time.Time) time.Time {
	if whole := t.Truncate(time.Second); whole.Before(t) {
		return whole.Add(time.Second)
	}
	return t
}

func secondsUntil(t, now time.Time) int {
	return max(int(math.Ceil(t.Sub(now).Seconds())), 0)
}

// exceeded is the 429; s.mu is held.
func (s *Server) exceeded(c *call, now time.Time) *answer {
	reset := s.quota.start.Add(s.cfg.window)
	after := secondsUntil(reset, now)
	plan := "free"
	switch s.cfg.quota {
	case 1000:
		plan = "pro"
	case 10000:
		plan = "premium"
	}
	more := `,"rateLimitInfo":{"remaining":0,"resetAt":"` + isoMillis(reset) +
		`","retryAfter":` + strconv.Itoa(after) + `}`
	a := s.failWith(c, http.StatusTooManyRequests, "RATE_LIMIT_EXCEEDED",
		"Rate limit exceeded. Your "+plan+" plan allows "+strconv.Itoa(s.cfg.quota)+
			" requests per day. Please upgrade your plan or wait until the limit resets.", more)
	a.header.Set("Retry-After", strconv.Itoa(after))
	return &a
}
