package eryxon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// Option varies a [Client]: see [New] and [Client.With].
type Option interface{ applyOption(*config) error }

// BulkOption varies a bulk sync or a stream. Each is a [SyncAllOption] and an
// [Option] too and then holds for all of the client's.
type BulkOption interface {
	SyncAllOption
	bulkOption()
}

// CallOption varies one call. Each is a [BulkOption] and an [Option] too.
type CallOption interface {
	BulkOption
	callOption()
}

// config is what the options have made of a client or a call. It is copied,
// never shared.
type config struct {
	httpClient *http.Client
	userAgent  string
	logger     *slog.Logger
	middleware []func(http.RoundTripper) http.RoundTripper
	plainHTTP  bool
	release    Release

	source         string
	observer       Observer
	retry          RetryPolicy
	attemptTimeout time.Duration
	maxWait        time.Duration

	concurrency int // 0: the default of the call
	maxRecords  int
	maxBytes    int
	grace       time.Duration
	budget      int // requests a run, 0: no bound

	noChecks    bool
	omitMissing bool
	overwrite   bool

	strictParents    bool
	parentsInDataset bool
	keepNested       bool
	sinks            []sinkFunc
	onProgress       func(Progress)

	spent *atomic.Int64 // of the budget, shared by all calls of a run
	wire  *wireCount    // of the run's calls for one entity, looks at the server included; nil: nobody counts

	plan, reserve int // requests a day, 0 where nobody has told

	state      State
	run        *stateRun  // the state, once the call has opened it
	seen       *sightings // that all calls of a run have seen; nil where each has its own
	full       bool
	maxAge     time.Duration
	createOnly map[string]bool // what the options have said of fields, by name
	urgency    func(a, b Pending) int
	complete   string // the source of a complete export
	within     func(Entity, Key) bool
	deactivate bool
	dryRun     bool
	tell       func(Outcome) // what a dry run would do
}

// allowance is what the call may take of the request quota.
func (c *config) allowance() allowance {
	return allowance{plan: c.plan, reserve: c.reserve, maxWait: c.maxWait}
}

// startBudget begins a run of its own.
func (c *config) startBudget() {
	if c.budget > 0 && c.spent == nil {
		c.spent = new(atomic.Int64)
	}
}

// wireCount counts requests on the wire, whatever they are for.
type wireCount struct {
	attempts atomic.Int64
	waited   atomic.Int64 // nanoseconds
}

// cost is what was counted.
func (w *wireCount) cost() tally {
	return tally{attempts: int(w.attempts.Load()), waited: time.Duration(w.waited.Load())}
}

// counting returns the configuration with a count of its own.
func (c *config) counting() *config {
	counted := *c
	counted.wire = new(wireCount)
	return &counted
}

func defaultConfig() config {
	return config{
		logger:         slog.New(slog.DiscardHandler),
		retry:          DefaultRetryPolicy(),
		attemptTimeout: 3 * time.Minute,
		maxRecords:     maxRecords,
		maxBytes:       1 << 20,
		grace:          10 * time.Second,
	}
}

type clientOption func(*config) error

func (o clientOption) applyOption(c *config) error { return o(c) }

type bulkOption func(*config) error

func (o bulkOption) applyOption(c *config) error { return o(c) }
func (bulkOption) syncAllOption()                {}
func (bulkOption) bulkOption()                   {}

type callOption func(*config) error

func (o callOption) applyOption(c *config) error { return o(c) }
func (callOption) syncAllOption()                {}
func (callOption) bulkOption()                   {}
func (callOption) callOption()                   {}

func applyAll[O Option](c *config, opts []O) error {
	for i, o := range opts {
		if any(o) == nil {
			return fmt.Errorf("eryxon: option %d is nil", i)
		}
		if err := o.applyOption(c); err != nil {
			return err
		}
	}
	return nil
}

// WithHTTPClient sends through a copy of hc: its transport, proxy, TLS
// settings, cookie jar and timeout are kept, its redirect policy is not
// (redirects are always refused), and hc itself is not changed. The transport
// sees the API key; middleware does not.
func WithHTTPClient(hc *http.Client) Option {
	return clientOption(func(c *config) error {
		if hc == nil {
			return errors.New("eryxon: WithHTTPClient: nil client")
		}
		c.httpClient = hc
		return nil
	})
}

// WithUserAgent puts the application's name and version, such as
// "acme-erp-bridge/2.1", before the SDK's own in the User-Agent header.
func WithUserAgent(application string) Option {
	return clientOption(func(c *config) error {
		if application == "" || !visibleASCII(application, true) {
			return fmt.Errorf("eryxon: WithUserAgent: %.60q: want printable ASCII, such as acme-erp-bridge/2.1", application)
		}
		c.userAgent = application
		return nil
	})
}

// WithLogger logs each attempt at level Debug and each retry at level Warn:
// method, path, status, request id, durations; never the key or a body.
func WithLogger(logger *slog.Logger) Option {
	return clientOption(func(c *config) error {
		if logger == nil {
			return errors.New("eryxon: WithLogger: nil logger")
		}
		c.logger = logger
		return nil
	})
}

// WithMiddleware wraps the transport: mw gets the next round tripper and
// returns its own. It sees each attempt, without the API key, which is set
// after it on a copy. Of several, the first given is the outermost.
func WithMiddleware(mw func(next http.RoundTripper) http.RoundTripper) Option {
	return clientOption(func(c *config) error {
		if mw == nil {
			return errors.New("eryxon: WithMiddleware: nil middleware")
		}
		// A variant must not write into its parent's backing array.
		c.middleware = append(c.middleware[:len(c.middleware):len(c.middleware)], mw)
		return nil
	})
}

// WithPlainHTTPAllowed lets the API key and all data travel unencrypted to a
// host that is not this machine. Without it, a base URL of http:// is accepted
// for loopback addresses only.
func WithPlainHTTPAllowed() Option {
	return clientOption(func(c *config) error {
		c.plainHTTP = true
		return nil
	})
}

// WithSource sets the external source, the ERP system's name, of records that
// give none. Nested records inherit their job's and are not filled in.
func WithSource(source string) CallOption {
	return callOption(func(c *config) error {
		if source == "" || !utf8.ValidString(source) {
			return fmt.Errorf("eryxon: WithSource: %.60q: want the ERP system's name, such as SAP", source)
		}
		c.source = source
		return nil
	})
}

// WithRetryPolicy replaces [DefaultRetryPolicy].
func WithRetryPolicy(p RetryPolicy) CallOption {
	return callOption(func(c *config) error {
		c.retry = p
		return p.validate()
	})
}

// WithAttemptTimeout bounds one attempt, from connecting to the last byte of
// the answer; the default is 3 minutes. The server may still be at work after
// it, so keep it above the 150 s after which the hosting gateway itself gives
// up. A context's deadline bounds the whole call.
func WithAttemptTimeout(d time.Duration) CallOption {
	return callOption(func(c *config) error {
		if d <= 0 {
			return fmt.Errorf("eryxon: WithAttemptTimeout: %s: want more than 0", d)
		}
		c.attemptTimeout = d
		return nil
	})
}

// WithMaxWait lets a call wait up to d for the request quota's next window
// instead of failing with a [*RateLimitError] before it sends. The default is
// 0, not to wait: the quota is usually a day's.
func WithMaxWait(d time.Duration) CallOption {
	return callOption(func(c *config) error {
		if d < 0 {
			return fmt.Errorf("eryxon: WithMaxWait: %s: want 0 or more", d)
		}
		c.maxWait = d
		return nil
	})
}

// WithConcurrency lets up to n bulk requests, 1 to 64, be in flight at once.
// The default is 4, and 1 for BulkSync, whose records then reach the server in
// the order given. No two requests of one client ever hold the same key, and
// those that make rows through the unified endpoint go one after the other
// whatever n is: the server would have them wait for each other.
func WithConcurrency(n int) BulkOption {
	return bulkOption(func(c *config) error {
		if n < 1 || n > 64 {
			return fmt.Errorf("eryxon: WithConcurrency: %d: want 1 to 64", n)
		}
		c.concurrency = n
		return nil
	})
}

// WithMaxRequestRecords bounds the records in one bulk request, 1 to 1000; the
// default is the documented 1000. Where a server says that it takes fewer, or
// runs out of time, requests become smaller by themselves.
func WithMaxRequestRecords(n int) BulkOption {
	return bulkOption(func(c *config) error {
		if n < 1 || n > maxRecords {
			return fmt.Errorf("eryxon: WithMaxRequestRecords: %d: want 1 to %d", n, maxRecords)
		}
		c.maxRecords = n
		return nil
	})
}

// WithMaxRequestBytes bounds the body of one bulk request, exactly, in bytes,
// at least 1024; the default is 1 MiB, which common gateways take. A record
// that alone is over it fails with [ErrTooLarge].
func WithMaxRequestBytes(n int) BulkOption {
	return bulkOption(func(c *config) error {
		if n < 1024 {
			return fmt.Errorf("eryxon: WithMaxRequestBytes: %d: want at least 1024", n)
		}
		c.maxBytes = n
		return nil
	})
}

// WithGracePeriod sets how long requests in flight may go on after the context
// ended or a stream's loop was left, so that their outcomes become known; no
// new ones are made. The default is 10 s; 0 cuts them off at once, and their
// records are then unknown.
func WithGracePeriod(d time.Duration) BulkOption {
	return bulkOption(func(c *config) error {
		if d < 0 {
			return fmt.Errorf("eryxon: WithGracePeriod: %s: want 0 or more", d)
		}
		c.grace = d
		return nil
	})
}

// WithRequestBudget ends a bulk sync, stream or SyncAll cleanly after n
// requests on the wire, retries included, n at least 1. What is left is not
// sent, with [ErrRequestBudget].
func WithRequestBudget(n int) BulkOption {
	return bulkOption(func(c *config) error {
		if n < 1 {
			return fmt.Errorf("eryxon: WithRequestBudget: %d: want at least 1", n)
		}
		c.budget = n
		return nil
	})
}

// WithDailyQuota tells how many requests a day the installation's plan allows,
// 1 or more (free 100, pro 1000, premium 10000): servers in the field say so
// only when it is used up. A window lasts 24 hours from its first request. What
// this client has spent of it counts, and with a state (see [WithState]) what
// earlier runs have; calls beyond it fail with a [*RateLimitError] before they
// send, or wait as [WithMaxWait] says.
func WithDailyQuota(n int) CallOption {
	return callOption(func(c *config) error {
		if n < 1 {
			return fmt.Errorf("eryxon: WithDailyQuota: %d: want at least 1", n)
		}
		c.plan = n
		return nil
	})
}

// WithQuotaReserve leaves n requests of the quota, 0 or more, to others, such
// as live traffic through the day. It takes effect where the quota is known:
// from [WithDailyQuota] or from the server's headers.
func WithQuotaReserve(n int) BulkOption {
	return bulkOption(func(c *config) error {
		if n < 0 {
			return fmt.Errorf("eryxon: WithQuotaReserve: %d: want 0 or more", n)
		}
		c.reserve = n
		return nil
	})
}

// Observer is told of every attempt after it ended, on the goroutine that made
// it: it should return quickly. A panic in it is recovered and logged.
type Observer func(context.Context, Attempt)

// Attempt is one request on the wire, or one that could not be made.
type Attempt struct {
	Method        string
	Path          string // relative to the base URL
	RequestID     string // the same for all attempts of a call
	Number        int    // of this attempt within its call, from 1
	Records       int    // top-level records in the request, 0 where it carries none
	StatusCode    int    // 0 if no answer came
	BytesSent     int    // of the request's body
	BytesReceived int    // of the answer's body
	Start         time.Time
	Duration      time.Duration
	RateLimit     RateLimit     // as known after this attempt
	Err           error         // why the attempt is not a success, nil if it is
	RetryIn       time.Duration // delay before the next attempt, -1 if none follows
}

// WithObserver sets the observer of attempts, for metrics and traces.
func WithObserver(o Observer) CallOption {
	return callOption(func(c *config) error {
		if o == nil {
			return errors.New("eryxon: WithObserver: nil observer")
		}
		c.observer = o
		return nil
	})
}

// visibleASCII reports whether s can stand in a header.
func visibleASCII(s string, space bool) bool {
	for i := range len(s) {
		if s[i] > '~' || s[i] < ' ' || s[i] == ' ' && !space {
			return false
		}
	}
	return true
}
