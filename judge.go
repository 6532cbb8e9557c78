package eryxon

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// verdict is the judgement of one attempt.
type verdict struct {
	err   error
	fate  fate
	retry bool
	floor time.Duration // least delay before a retry
	kind  error
	own   bool
}

// tookTooLong reports what a smaller request may do better.
func tookTooLong(kind error, status int) bool {
	return kind == ErrTimeout || status == http.StatusGatewayTimeout || status == statusWorkerLimit
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
		v.retry = v.retry && !errors.As(err, &cert) && !errors.Is(err, http.ErrSchemeMismatch)
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
	return errors.As(err, &cert) || errors.As(err, &record) || errors.Is(err, http.ErrSchemeMismatch)
}

// ofNetwork reports an error of a connection, not of a transport that makes none.
func ofNetwork(err error) bool {
	var lost net.Error
	return errors.As(err, &lost) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
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
		if err != nil || !env.told() {
			env = envelope{fault: fault{message: describeBody(status, co.redact(body))}}
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
	case own && cl.method == http.MethodGet && reNoRow.MatchString(env.message):
		kind = ErrNotFound
	case kind != nil && kind != ErrValidation && kind != ErrConflict && kind != ErrServer:
		// The text says more than code and status do.
	case byCode != nil:
		kind = byCode
	case kind == nil || kind == ErrServer || res.status < 500:
		if byStatus := statusKind(res.status); byStatus != nil {
			kind = byStatus
		}
	}
	api := co.apiError(cl, res, kind, env.code, env.message, nil, body)
	api.field = said.field
	v := verdict{err: api, kind: kind, own: own, fate: refusalFate(cl, res.status, own, said.kind, kind)}
	if kind == nil && own && (res.status == http.StatusBadRequest && env.code == "BAD_REQUEST" || res.status == http.StatusUnprocessableEntity) {
		// It is about the record, most likely; whether an attempt before it met
		// the same refusal is another matter, for which the verdict has no kind.
		kind, api.kind = ErrValidation, ErrValidation
	}
	switch kind {
	case ErrRateLimited:
		limits = limits.completed(body, now)
		v.err = &RateLimitError{Limit: limits.limit, Remaining: max(0, limits.left), Reset: limits.reset, RetryAfter: max(0, limits.retryAfter), Sent: true, api: api}
		v.fate, v.retry = fateNotSent, true
		v.floor = limits.retryAfter
	case ErrValidation:
		v.err = newValidationError(api, env.details)
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
	case own && said != nil && !errors.Is(said, ErrServer):
		return fateRefused // the database's own refusal
	case status < 300 && (kind == ErrValidation || kind == ErrUnauthorized || kind == ErrForbidden || kind == ErrQuotaExceeded || kind == ErrNotFound):
		return fateRefused
	default:
		return fateUnknown
	}
}

func newValidationError(api *APIError, details []FieldError) *ValidationError {
	e := &ValidationError{Code: api.Code, Message: api.Message, Field: api.field, Details: details, api: api}
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
