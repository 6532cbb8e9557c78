package eryxon

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// maxAnswer bounds how much of an answer is read, in bytes. A bulk answer may
// repeat every record that was sent.
const maxAnswer = 64 << 20

// maxKeptBody bounds how much of a failed answer an error keeps, in bytes.
const maxKeptBody = 64 << 10

// statusWorkerLimit is what the hosting gateway answers when a worker runs out
// of its CPU time.
const statusWorkerLimit = 546

// call is one call to the API. Its body is encoded once and sent as it is on
// every attempt.
type call struct {
	method     string
	path       string // relative to the base URL, query included
	body       []byte
	records    int  // top-level records in the body
	bulk       bool // records may land one by one: a 5xx proves nothing
	split      bool // the caller makes smaller requests of it rather than retry what took too long
	repeatable bool // may be sent again after an attempt that may have been carried out
	raced      bool // that there is no row has been seen more than once: a duplicate key is a deleted row's
	bodiless   bool // an answer that by its nature has no body will do
	decode     func(body []byte) (*envelope, error)
	// wire, where not nil, bounds the requests themselves in place of the
	// call's context, which then only decides whether another one is made.
	wire context.Context
	// turn, where not nil, waits until an attempt may be made beside others, and
	// returns what ends it; the error is the context's.
	turn func(context.Context) (end func(), err error)
}

// fate is what became of a call, as far as it can be known.
type fate uint8

const (
	fateUnknown  fate = iota // sent, and no answer that tells
	fateNotSent              // nothing reached the server, or it was turned away unread
	fateRefused              // the server refused it, and nothing was written
	fateAnswered             // a usable answer came
)

// result is what became of a call.
type result struct {
	fate      fate
	err       error // nil if and only if fate is fateAnswered
	kind      error
	own       bool            // the answer was in the API's form
	row       json.RawMessage // of a single sync, where one came
	status    int
	header    http.Header
	requestID string
	attempts  int
	start     time.Time
	duration  time.Duration
	// ambiguous: an attempt before the last one may have been carried out.
	ambiguous bool
}

// mayHaveWritten reports whether records of a call that brought no usable
// answer may be on the server.
func (r *result) mayHaveWritten() bool { return r.ambiguous || r.fate == fateUnknown }

func (r *result) response() *Response {
	return &Response{StatusCode: r.status, Header: r.header, RequestID: r.requestID, Attempts: r.attempts, Duration: r.duration}
}

// do takes a call through the limiter, the attempts and the retries.
func (co *core) do(ctx context.Context, cfg *config, cl *call) *result {
	res := &result{requestID: newRequestID(), start: time.Now()}
	defer func() { res.duration = time.Since(res.start) }()
	raced := cl.raced
	for {
		seq, waited, err := co.admit(ctx, cfg)
		if cfg.wire != nil {
			cfg.wire.waited.Add(int64(waited))
		}
		end := func() {}
		if err == nil && cl.turn != nil { // no part of the attempt: nothing is sent while it waits
			end, err = cl.turn(ctx)
		}
		if err != nil {
			co.endUnsent(cl, res, err)
			return res
		}
		res.attempts++
		if cfg.wire != nil {
			cfg.wire.attempts.Add(1)
		}
		at := Attempt{Method: cl.method, Path: cl.path, RequestID: res.requestID, Number: res.attempts,
			Records: cl.records, BytesSent: len(cl.body), Start: time.Now(), RetryIn: -1}
		v := co.attempt(ctx, cfg, cl, res, seq, &at, end)

		delay := time.Duration(-1)
		switch {
		case v.err == nil || ctx.Err() != nil:
		case isDuplicateExternalKey(messageOf(v.err)):
			// Of two first syncs at once one loses this way, and an update
			// then works. A second time the row is a deleted one.
			if raced {
				v.err, v.kind, v.fate = deletedOnServer(v.err), ErrDeletedOnServer, fateRefused
			} else if cl.repeatable && !cl.bulk && res.attempts < cfg.retry.MaxAttempts && co.shared.budget.take() {
				raced = true
				delay = cfg.retry.backoff(1)
			}
		case cl.split && tookTooLong(v.kind, res.status):
		case v.retry && (cl.repeatable || v.fate != fateUnknown) && res.attempts < cfg.retry.MaxAttempts:
			d := max(v.floor, cfg.retry.backoff(res.attempts))
			if v.floor <= max(cfg.retry.MaxDelay, cfg.maxWait) && endsBefore(ctx, time.Now().Add(d)) && co.shared.budget.take() {
				delay = d
			}
		}
		at.Err, at.RetryIn = v.err, delay
		co.report(ctx, cfg, &at)

		if delay < 0 {
			if v.fate == fateAnswered {
				co.shared.budget.refund()
			}
			res.err, res.fate, res.kind, res.own = v.err, v.fate, v.kind, v.own
			res.settle()
			return res
		}
		res.ambiguous = res.ambiguous || v.fate == fateUnknown
		if err := sleep(ctx, delay); err != nil {
			co.endUnsent(cl, res, err)
			return res
		}
	}
}

// admit lets an attempt pass the limiter.
func (co *core) admit(ctx context.Context, cfg *config) (int64, time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	if cfg.spent != nil && cfg.spent.Add(1) > int64(cfg.budget) {
		return 0, 0, ErrRequestBudget
	}
	may := cfg.allowance()
	if cfg.retry.MaxAttempts > 1 { // to be turned away and to come again takes as long
		may.maxPause = cfg.retry.MaxDelay
	}
	seq, waited, err := co.shared.limiter.acquire(ctx, may)
	if err != nil && cfg.spent != nil {
		cfg.spent.Add(-1) // nothing was sent
	}
	return seq, waited, err
}

// endUnsent ends a call whose next attempt is not made.
func (co *core) endUnsent(cl *call, res *result, err error) {
	res.fate = fateNotSent
	res.settle()
	if res.attempts == 0 {
		res.requestID = "" // nobody has heard of it
	}
	var limited *RateLimitError
	if errors.As(err, &limited) {
		res.kind = ErrRateLimited
		if res.attempts > 0 {
			limited.api = co.apiError(cl, res, ErrRateLimited, "", "request quota used up before a retry", nil, nil)
		}
		res.err = limited
		return
	}
	message := "not sent: " + err.Error()
	if res.attempts > 0 {
		message = "gave up waiting for a retry: " + err.Error()
	}
	kind := error(nil)
	if errors.Is(err, ErrRequestBudget) {
		kind = ErrRequestBudget
	}
	res.err = co.apiError(cl, res, kind, "", message, err, nil)
}

// contentKinds are refusals of what a record says: the same content meets them
// every time.
var contentKinds = []error{ErrValidation, ErrParentNotFound, ErrMissingColumn, ErrNaturalKeyTaken, ErrDeletedOnServer}

// settle corrects the fate of a call whose earlier attempt may have been
// carried out: that a later one was turned away does not undo it. A refusal of
// the content stands, for the earlier attempt had the same content.
func (r *result) settle() {
	if !r.ambiguous || r.fate == fateAnswered {
		return
	}
	if !slices.Contains(contentKinds, r.kind) {
		r.fate = fateUnknown
	}
}

// attempt makes one request, whose turn it ends, and judges what comes back.
func (co *core) attempt(ctx context.Context, cfg *config, cl *call, res *result, seq int64, at *Attempt, end func()) verdict { //nolint:contextcheck // call.wire is a context of the caller's, too
	defer end()
	if cl.wire != nil {
		ctx = cl.wire
	}
	actx, cancel := context.WithTimeout(ctx, cfg.attemptTimeout)
	defer cancel()
	defer func() {
		at.Duration = time.Since(at.Start)
		at.StatusCode = res.status
		at.RateLimit = co.shared.limiter.snapshot(cfg.allowance(), time.Now())
	}()
	res.status, res.header = 0, nil

	req, err := co.newRequest(actx, cfg, cl, res.requestID)
	if err != nil {
		return verdict{err: co.apiError(cl, res, nil, "", err.Error(), err, nil), fate: fateNotSent}
	}
	resp, err := co.http.Do(req)
	if err != nil {
		return co.judgeFailure(ctx, actx, cl, res, err)
	}
	body, readErr := readAnswer(resp)
	_ = resp.Body.Close() // all that counts was read
	now := time.Now()
	for _, values := range resp.Header {
		for i := range values {
			values[i] = string(co.redact([]byte(values[i])))
		}
	}
	res.status, res.header = resp.StatusCode, resp.Header
	at.BytesReceived = len(body)
	if id := resp.Header.Get("X-Request-Id"); id != "" && len(id) <= 128 && visibleASCII(id, false) {
		res.requestID = id
	}
	limits := readLimit(resp.Header, now)
	if resp.StatusCode == http.StatusTooManyRequests {
		limits = limits.completed(body, now)
	}
	co.shared.limiter.observe(seq, limits, now)

	if readErr != nil && (resp.StatusCode < 300 || ctx.Err() != nil) {
		return co.judgeFailure(ctx, actx, cl, res, fmt.Errorf("answer cut short after %d bytes: %w", len(body), readErr))
	}
	return co.judgeAnswer(cl, res, body, limits, now)
}

// readAnswer reads the body, at most one byte more than maxAnswer.
func readAnswer(resp *http.Response) ([]byte, error) {
	var b bytes.Buffer
	if n := resp.ContentLength; n > 0 && n <= 1<<20 {
		b.Grow(int(n) + bytes.MinRead) // ReadFrom wants that much room to see the end
	}
	_, err := b.ReadFrom(io.LimitReader(resp.Body, maxAnswer+1))
	return b.Bytes(), err
}

func (co *core) newRequest(ctx context.Context, cfg *config, cl *call, requestID string) (*http.Request, error) {
	var body io.Reader
	if cl.body != nil {
		body = bytes.NewReader(cl.body)
	}
	req, err := http.NewRequestWithContext(ctx, cl.method, co.base+cl.path, body)
	if err != nil {
		return nil, errors.New("request can't be built: check method and path")
	}
	agent := "eryxon-go/" + Version
	if cfg.userAgent != "" {
		agent = cfg.userAgent + " " + agent
	}
	req.Header.Set("User-Agent", agent)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("X-Request-Id", requestID)
	if cl.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

func (co *core) apiError(cl *call, res *result, kind error, code, message string, cause error, body []byte) *APIError {
	// The key is struck out first: a cut through it would leave a part.
	body = co.redact(body)
	if cause != nil {
		if text := cause.Error(); text != string(co.redact([]byte(text))) {
			cause = errors.New(co.fit(text))
		}
	}
	return &APIError{
		Method: cl.method, Path: co.fit(cl.path), StatusCode: res.status, Code: co.fit(code),
		Message: co.fit(message), RequestID: res.requestID, Attempts: res.attempts,
		kind: kind, cause: cause, body: bytes.Clone(body[:min(len(body), maxKeptBody)]),
	}
}

// fit makes text from outside fit for an error: printable, and without the key.
func (co *core) fit(text string) string { return printable(string(co.redact([]byte(text)))) }

// report tells observer and log of an attempt.
func (co *core) report(ctx context.Context, cfg *config, at *Attempt) {
	level, msg := slog.LevelDebug, "eryxon: attempt"
	if at.RetryIn >= 0 {
		level, msg = slog.LevelWarn, "eryxon: attempt failed, will retry"
	}
	if cfg.logger.Enabled(ctx, level) {
		attrs := []slog.Attr{
			slog.String("method", at.Method), slog.String("path", at.Path), slog.Int("status", at.StatusCode),
			slog.String("request_id", at.RequestID), slog.Int("attempt", at.Number), slog.Int("records", at.Records),
			slog.Duration("duration", at.Duration),
		}
		if at.Err != nil {
			attrs = append(attrs, slog.String("error", at.Err.Error()))
		}
		if at.RetryIn >= 0 {
			attrs = append(attrs, slog.Duration("retry_in", at.RetryIn))
		}
		cfg.logger.LogAttrs(ctx, level, msg, attrs...)
	}
	if cfg.observer == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			cfg.logger.LogAttrs(ctx, slog.LevelError, "eryxon: the observer panicked", slog.Any("panic", p))
		}
	}()
	cfg.observer(ctx, *at)
}

// reEscaped is a visible ASCII character as JSON may have it.
var reEscaped = regexp.MustCompile(`\\u00[2-7][0-9a-fA-F]|\\/`)

// strike removes the key from text that came from outside, also where JSON
// escapes some of its characters.
func strike(b []byte, key string) []byte {
	if !bytes.Contains(b, []byte(key)) {
		if bytes.IndexByte(b, '\\') < 0 {
			return b
		}
		plain := reEscaped.ReplaceAllFunc(b, func(escaped []byte) []byte {
			if c, err := hex.DecodeString(string(escaped[max(0, len(escaped)-2):])); err == nil {
				return c
			}
			return escaped[1:]
		})
		if !bytes.Contains(plain, []byte(key)) {
			return b
		}
		b = plain
	}
	return bytes.ReplaceAll(b, []byte(key), []byte("[key struck out]"))
}

// newRequestID returns a random UUID, which servers take over into their logs.
func newRequestID() string {
	var u [16]byte
	_, _ = rand.Read(u[:]) // never fails, by its documentation
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	h := hex.EncodeToString(u[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}
