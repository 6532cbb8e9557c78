package eryxon

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
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
	bodiless   bool // an answer that by its nature has no body will do
	decode     func(body []byte) (*envelope, error)
	// wire, where not nil, bounds the requests themselves in place of the
	// call's context, which then only decides whether another one is made.
	wire context.Context
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
	waited    time.Duration // of it, for the request quota
	// ambiguous: an attempt before the last one may have been carried out.
	ambiguous bool
}

// mayHaveWritten reports whether records of a call that brought no usable
// answer may be on the server.
func (r *result) mayHaveWritten() bool { return r.ambiguous || r.fate == fateUnknown }

func (r *result) response() *Response {
	return &Response{StatusCode: r.status, Header: r.header, RequestID: r.requestID, Attempts: r.attempts, Duration: r.duration}
}

// verdict is the judgement of one attempt.
type verdict struct {
	err   error
	fate  fate
	retry bool
	floor time.Duration // least delay before a retry
	kind  error
	own   bool
}

// do takes a call through the limiter, the attempts and the retries.
func (co *core) do(ctx context.Context, cfg *config, cl *call) *result {
	res := &result{requestID: newRequestID(), start: time.Now()}
	defer func() { res.duration = time.Since(res.start) }()
	raced := false
	for {
		seq, waited, err := co.admit(ctx, cfg)
		res.waited += waited
		if err != nil {
			co.endUnsent(cl, res, err)
			return res
		}
		res.attempts++
		at := Attempt{Method: cl.method, Path: cl.path, RequestID: res.requestID, Number: res.attempts,
			Records: cl.records, BytesSent: len(cl.body), Start: time.Now(), RetryIn: -1}
		v := co.attempt(ctx, cfg, cl, res, seq, &at)

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

// tookTooLong reports what a smaller request may do better.
func tookTooLong(kind error, status int) bool {
	return kind == ErrTimeout || status == http.StatusGatewayTimeout || status == statusWorkerLimit
}

// admit lets an attempt pass the limiter.
func (co *core) admit(ctx context.Context, cfg *config) (int64, time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	if cfg.spent != nil && cfg.spent.Add(1) > int64(cfg.budget) {
		return 0, 0, ErrRequestBudget
	}
	return co.shared.limiter.acquire(ctx, cfg.maxWait)
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

// settle corrects the fate of a call whose earlier attempt may have been
// carried out: that a later one was turned away does not undo it. A refusal of
// the content stands, for the earlier attempt had the same content.
func (r *result) settle() {
	if !r.ambiguous || r.fate == fateAnswered {
		return
	}
	switch r.kind {
	case ErrValidation, ErrParentNotFound, ErrMissingColumn, ErrNaturalKeyTaken, ErrDeletedOnServer:
	default:
		r.fate = fateUnknown
	}
}

// attempt makes one request and judges what comes back.
func (co *core) attempt(ctx context.Context, cfg *config, cl *call, res *result, seq int64, at *Attempt) verdict { //nolint:contextcheck // call.wire is a context of the caller's, too
	if cl.wire != nil {
		ctx = cl.wire
	}
	actx, cancel := context.WithTimeout(ctx, cfg.attemptTimeout)
	defer cancel()
	defer func() {
		at.Duration = time.Since(at.Start)
		at.StatusCode = res.status
		at.RateLimit = co.shared.limiter.snapshot(time.Now())
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

// judgeFailure judges an attempt that brought no whole answer.
func (co *core) judgeFailure(ctx, actx context.Context, cl *call, res *result, err error) verdict {
	// url.Error repeats the whole URL; the call's path is told already.
	if wrapper := (*url.Error)(nil); errors.As(err, &wrapper) {
		err = wrapper.Err
	}
	v := verdict{fate: fateUnknown, retry: true, kind: ErrConnection}
	message := "no answer: " + err.Error()
	switch netErr := net.Error(nil); {
	case ctx.Err() != nil:
		v.retry, v.kind = false, nil
		message = "broken off: " + ctx.Err().Error()
		err = ctx.Err()
	case actx.Err() != nil, errors.As(err, &netErr) && netErr.Timeout():
		v.kind = ErrTimeout
		message = "no answer within the attempt timeout"
	}
	if neverConnected(err) {
		v.fate = fateNotSent
		var cert *tls.CertificateVerificationError
		v.retry = v.retry && !errors.As(err, &cert)
	}
	v.err = co.apiError(cl, res, v.kind, "", printable(message), err, nil)
	return v
}

// neverConnected reports an error from before anything was sent.
func neverConnected(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect") {
		return true
	}
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	return errors.As(err, &cert) || errors.As(err, &record)
}

// judgeAnswer judges a whole answer.
func (co *core) judgeAnswer(cl *call, res *result, body []byte, limits limitReport, now time.Time) verdict {
	bad := func(message string, cause error) verdict {
		return verdict{err: co.apiError(cl, res, ErrBadAnswer, "", message, cause, body), fate: fateUnknown, kind: ErrBadAnswer}
	}
	switch status := res.status; {
	case len(body) > maxAnswer:
		return bad(fmt.Sprintf("answer larger than %d MiB", maxAnswer>>20), nil)
	case status >= 300 && status < 400:
		message := fmt.Sprintf("redirect from %s to %s refused", co.base, redirectTarget(co.base, res.header.Get("Location")))
		return verdict{err: co.apiError(cl, res, ErrRedirect, "", message, nil, body), fate: fateRefused, kind: ErrRedirect}
	case status < 200 || status >= 400:
		env, err := readEnvelope(body)
		if err != nil || env.code == "" && env.message == "" {
			env = envelope{message: describeBody(status, co.redact(body))}
			return co.judgeRefusal(cl, res, &env, false, body, limits, now)
		}
		return co.judgeRefusal(cl, res, &env, true, body, limits, now)
	case cl.bodiless && (status == http.StatusNoContent || cl.method == http.MethodHead):
		return verdict{fate: fateAnswered}
	case len(bytes.TrimSpace(body)) == 0:
		return bad("empty answer", nil)
	}
	env, err := cl.decode(body)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		v := bad("answer truncated", err)
		v.retry = true
		return v
	case err != nil && bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")):
		return bad("answer is HTML, not JSON", err)
	case err != nil:
		return bad("answer can't be read: "+printable(err.Error()), err)
	case env.success == nil:
		return bad("answer does not say whether it is a success", nil)
	case !*env.success:
		return co.judgeRefusal(cl, res, env, true, body, limits, now)
	}
	return verdict{fate: fateAnswered}
}

// judgeRefusal judges an answer that is not a success: by the server's own
// words where it has an envelope, else by the status alone.
func (co *core) judgeRefusal(cl *call, res *result, env *envelope, own bool, body []byte, limits limitReport, now time.Time) verdict {
	env.redact(co.redact)
	said := complaint{}
	if own {
		said = understand(env.message)
	}
	kind := said.kind
	switch byCode := codeKind(env.code); {
	case res.status == http.StatusTooManyRequests:
		kind = ErrRateLimited
	case kind != nil && kind != ErrValidation && kind != ErrConflict:
		// The text says more than code and status do.
	case byCode != nil:
		kind = byCode
	case kind == nil || res.status < 500:
		if byStatus := statusKind(res.status); byStatus != nil {
			kind = byStatus
		}
	}
	api := co.apiError(cl, res, kind, env.code, env.message, nil, body)
	v := verdict{err: api, kind: kind, own: own, fate: refusalFate(cl, res.status, own, said.kind, kind)}
	switch kind {
	case ErrRateLimited:
		limits = limits.completed(body, now)
		v.err = &RateLimitError{Limit: limits.limit, Remaining: max(0, limits.left), Reset: limits.reset, RetryAfter: max(0, limits.retryAfter), Sent: true, api: api}
		v.fate, v.retry = fateNotSent, true
		v.floor = limits.retryAfter
		if limits.left == 0 && !limits.reset.IsZero() {
			// Retry-After in whole seconds may fall short of the window's end.
			v.floor = max(v.floor, limits.reset.Sub(now))
		}
	case ErrValidation:
		v.err = newValidationError(api, env, said.field)
	}
	switch res.status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout, statusWorkerLimit:
		v.retry, v.floor = true, limits.retryAfter
	}
	return v
}

// refusalFate tells whether a refusal proves that nothing was written.
func refusalFate(cl *call, status int, own bool, said, kind error) fate {
	switch {
	case status == http.StatusRequestTimeout:
		return fateUnknown
	case status >= 400 && status < 500:
		return fateRefused
	case cl.bulk && status >= 500:
		return fateUnknown // records before the failing one may stay
	case own && said != nil:
		return fateRefused // the database's own refusal
	case status < 300 && (kind == ErrValidation || kind == ErrUnauthorized || kind == ErrForbidden || kind == ErrQuotaExceeded || kind == ErrNotFound):
		return fateRefused
	default:
		return fateUnknown
	}
}

func newValidationError(api *APIError, env *envelope, field string) *ValidationError {
	e := &ValidationError{Code: api.Code, Message: api.Message, Field: field, Details: env.details, api: api}
	if e.Field == "" && len(e.Details) > 0 {
		e.Field = e.Details[0].Field
	}
	if e.Code == "" {
		e.Code = "VALIDATION_ERROR"
	}
	return e
}

func deletedOnServer(err error) error {
	var api *APIError
	if errors.As(err, &api) {
		gone := *api
		gone.kind = ErrDeletedOnServer
		return &gone
	}
	return err
}

// messageOf returns the server's message in err.
func messageOf(err error) string {
	var api *APIError
	if errors.As(err, &api) {
		return api.Message
	}
	return ""
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

// describeBody puts an answer without an envelope into words.
func describeBody(status int, body []byte) string {
	text := http.StatusText(status)
	if text == "" {
		text = "failed"
	}
	trimmed := bytes.TrimSpace(body)
	switch {
	case len(trimmed) == 0:
		return text + " (empty answer)"
	case trimmed[0] == '<':
		return text + " (answer is HTML, not the API's)"
	case trimmed[0] == '{' || trimmed[0] == '[':
		return text + " (answer is not in the API's form)"
	default:
		return fmt.Sprintf("%s (answer: %.120s)", text, printable(string(trimmed[:min(len(trimmed), 500)])))
	}
}

// redirectTarget names the end of a redirect without query or user info.
func redirectTarget(base, location string) string {
	u, err := url.Parse(location)
	if err != nil || location == "" {
		return "nowhere (no readable Location header)"
	}
	if b, err := url.Parse(base); err == nil {
		u = b.ResolveReference(u)
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// completed fills in what a 429 tells in its body rather than its headers.
func (r limitReport) completed(body []byte, now time.Time) limitReport {
	var info struct {
		Error struct {
			RateLimitInfo struct {
				Remaining  *int     `json:"remaining"`
				ResetAt    string   `json:"resetAt"`
				RetryAfter *float64 `json:"retryAfter"`
			} `json:"rateLimitInfo"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &info) == nil {
		i := info.Error.RateLimitInfo
		if r.left < 0 && i.Remaining != nil && *i.Remaining >= 0 {
			r.left = *i.Remaining
		}
		if r.retryAfter < 0 && i.RetryAfter != nil {
			r.retryAfter = parseRetryAfter(fmt.Sprint(*i.RetryAfter), now, 0)
		}
		if r.reset.IsZero() && r.retryAfter < 0 {
			r.reset, _ = parseMoment(i.ResetAt, now, 0)
		}
	}
	if r.reset.IsZero() && r.retryAfter > 0 && r.left == 0 {
		r.reset = now.Add(r.retryAfter)
	}
	if r.retryAfter < 0 && r.left == 0 && !r.reset.IsZero() {
		r.retryAfter = max(0, r.reset.Sub(now))
	}
	return r
}

// envelope is what every answer is wrapped in.
type envelope struct {
	success *bool
	data    json.RawMessage // nil where absent or null
	code    string
	message string
	details []FieldError
}

// redact strikes the key out of what an error will repeat.
func (e *envelope) redact(strike func([]byte) []byte) {
	e.message, e.code = string(strike([]byte(e.message))), string(strike([]byte(e.code)))
	redactDetails(e.details, strike)
}

func redactDetails(details []FieldError, strike func([]byte) []byte) {
	for i := range details {
		d := &details[i]
		for _, text := range []*string{&d.Field, &d.Message, &d.Constraint, &d.EntityType} {
			*text = string(strike([]byte(*text)))
		}
		d.Value = redactValue(d.Value, strike)
	}
}

// redactValue strikes the key out of a value as encoding/json decodes it.
func redactValue(v any, strike func([]byte) []byte) any {
	switch v := v.(type) {
	case string:
		return string(strike([]byte(v)))
	case []any:
		for i := range v {
			v[i] = redactValue(v[i], strike)
		}
	case map[string]any:
		for name := range v {
			v[name] = redactValue(v[name], strike)
		}
	}
	return v
}

func (e *envelope) succeeded() bool { return e.success != nil && *e.success }

func (e *envelope) decodeData(out any) error {
	if e.data == nil {
		return errors.New("a success without data")
	}
	return json.Unmarshal(e.data, out)
}

// readEnvelope reads an answer whose data is small or not of interest. A body
// that ends too early gives io.ErrUnexpectedEOF.
func readEnvelope(body []byte) (envelope, error) {
	var raw struct {
		Success *bool           `json:"success"`
		Data    json.RawMessage `json:"data"`
		Error   json.RawMessage `json:"error"`
	}
	if err := unmarshal(body, &raw); err != nil {
		return envelope{}, err
	}
	env := envelope{success: raw.Success}
	if len(raw.Data) > 0 && string(raw.Data) != "null" {
		env.data = raw.Data
	}
	env.readError(raw.Error)
	return env, nil
}

// readError reads the documented error object; a bare string is taken for the
// message.
func (e *envelope) readError(raw []byte) {
	var object struct {
		Code    string          `json:"code"`
		Message string          `json:"message"`
		Details json.RawMessage `json:"details"`
	}
	if err := json.Unmarshal(raw, &object); err != nil {
		_ = json.Unmarshal(raw, &e.message) // neither: there is no message
		return
	}
	e.code, e.message = object.Code, object.Message
	e.details = readDetails(object.Details)
}

// readDetails reads the list of complaints. A plan limit's details are an
// object, which is none.
func readDetails(raw []byte) []FieldError {
	var details []FieldError
	if json.Unmarshal(raw, &details) != nil {
		return nil
	}
	return details
}

// unmarshal is json.Unmarshal with io.ErrUnexpectedEOF for a body cut short.
func unmarshal(body []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
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
