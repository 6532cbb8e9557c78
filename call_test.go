package eryxon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go/eryxontest"
)

func envelopeOf(code, message string) string {
	return fmt.Sprintf(`{"success":false,"error":{"code":%q,"message":%q}}`, code, message)
}

const gatewayPage = "<html><head><title>Error</title></head><body>nginx</body></html>"

// truth is what one answer proves.
type truth struct {
	status       int
	body         string
	single, bulk Status
	kind         error
	text         string // in the error
	step         string // what to do, at its end
}

// TestEachAnswerHasItsOwnTruth is the table of what an answer proves: of a
// record synced alone, and of the same record in a bulk.
func TestEachAnswerHasItsOwnTruth(t *testing.T) {
	for name, tt := range map[string]*truth{
		// Refused: nothing was written.
		"400 bad request":      {400, envelopeOf("BAD_REQUEST", "jobs must be an array"), StatusFailed, StatusFailed, ErrValidation, "400 BAD_REQUEST: jobs must be an array", ""},
		"400 missing field":    {400, envelopeOf("BAD_REQUEST", "job_number is required"), StatusFailed, StatusFailed, ErrValidation, "job_number is required", ""},
		"400 as documented":    {400, envelopeOf("VALIDATION_ERROR", "external_id is required for sync operations"), StatusFailed, StatusFailed, ErrValidation, "VALIDATION_ERROR: external_id is required", ""},
		"400 unknown parent":   {400, envelopeOf("BAD_REQUEST", "job_id or job_external_id is required"), StatusFailed, StatusFailed, ErrParentNotFound, "job_external_id", "sync the parent first"},
		"400 HTML":             {400, gatewayPage, StatusFailed, StatusFailed, nil, "400 Bad Request (answer is HTML, not the API's)", ""},
		"401":                  {401, envelopeOf("UNAUTHORIZED", "Invalid API key"), StatusFailed, StatusFailed, ErrUnauthorized, "401 UNAUTHORIZED: Invalid API key", "check the API key"},
		"401 by the gateway":   {401, `{"code":401,"message":"Missing authorization header"}`, StatusFailed, StatusFailed, ErrUnauthorized, "401 Unauthorized", "check the API key"},
		"401 that asks for it": {401, envelopeOf("", "token is required"), StatusFailed, StatusFailed, ErrUnauthorized, "token is required", "check the API key"},
		"402":                  {402, `{"success":false,"error":{"code":"QUOTA_EXCEEDED","message":"Job limit reached","details":{"limitType":"jobs","currentUsage":100,"limit":100}}}`, StatusFailed, StatusFailed, ErrQuotaExceeded, "402 QUOTA_EXCEEDED: Job limit reached", "raise its plan"},
		"403":                  {403, envelopeOf("FORBIDDEN", "not yours"), StatusFailed, StatusFailed, ErrForbidden, "403 FORBIDDEN: not yours", "ask the installation's owner"},
		"403 HTML":             {403, gatewayPage, StatusFailed, StatusFailed, ErrForbidden, "403 Forbidden (answer is HTML", "ask the installation's owner"},
		"404":                  {404, envelopeOf("NOT_FOUND", "no such function"), StatusFailed, StatusFailed, ErrNotFound, "404 NOT_FOUND", "check the base URL"},
		"404 empty":            {404, "", StatusFailed, StatusFailed, ErrNotFound, "404 Not Found (empty answer)", "check the base URL"},
		"405":                  {405, "Method Not Allowed", StatusFailed, StatusFailed, ErrNotFound, "405 Method Not Allowed (answer: Method Not Allowed)", "check the base URL"},
		"409":                  {409, envelopeOf("CONFLICT", "version mismatch"), StatusFailed, StatusFailed, ErrConflict, "409 CONFLICT: version mismatch", ""},
		"409 number taken":     {409, envelopeOf("CONFLICT", `duplicate key value violates unique constraint "jobs_tenant_id_job_number_key"`), StatusFailed, StatusFailed, ErrNaturalKeyTaken, "duplicate key", "rename one of the two"},
		"413":                  {413, gatewayPage, StatusFailed, StatusFailed, ErrTooLarge, "413 Request Entity Too Large", "send fewer records"},
		"422":                  {422, envelopeOf("VALIDATION_ERROR", "✗ 1 validation error(s) in job"), StatusFailed, StatusFailed, ErrValidation, "422 VALIDATION_ERROR: ✗ 1 validation", ""},
		"422 without a code":   {422, `{"success":false,"error":{"message":"1 validation error","details":[{"field":"priority","message":"must be an integer"}]}}`, StatusFailed, StatusFailed, ErrValidation, "1 validation error; priority: must be an integer", ""},
		"422 details alone":    {422, `{"success":false,"error":{"details":[{"field":"priority","message":"must be an integer"}]}}`, StatusFailed, StatusFailed, ErrValidation, "priority: must be an integer", ""},
		"422 without words":    {422, "", StatusFailed, StatusFailed, nil, "422 Unprocessable Entity (empty answer)", ""},
		"odd 4xx":              {418, "short and stout", StatusFailed, StatusFailed, nil, "418 I'm a teapot (answer: short and stout)", ""},
		"200 refusal":          {200, envelopeOf("VALIDATION_ERROR", "job_number is required"), StatusFailed, StatusFailed, ErrValidation, "200 VALIDATION_ERROR", ""},
		"200 quota":            {200, envelopeOf("QUOTA_EXCEEDED", "Job limit reached"), StatusFailed, StatusFailed, ErrQuotaExceeded, "200 QUOTA_EXCEEDED", "raise its plan"},
		"500 number taken":     {500, envelopeOf("INTERNAL_ERROR", `Failed to sync jobs: duplicate key value violates unique constraint "jobs_tenant_id_job_number_key"`), StatusFailed, StatusUnknown, ErrNaturalKeyTaken, "Failed to sync jobs: duplicate key", "rename one of the two"},
		"500 column missing":   {500, envelopeOf("INTERNAL_ERROR", "Failed to sync jobs: Could not find the 'priority' column of 'jobs' in the schema cache"), StatusFailed, StatusUnknown, ErrMissingColumn, "'priority' column", "leave the field unset"},
		"500 bad value":        {500, envelopeOf("INTERNAL_ERROR", `invalid input syntax for type integer: "12.5"`), StatusFailed, StatusUnknown, ErrValidation, "invalid input syntax", ""},
		"500 not null":         {500, envelopeOf("INTERNAL_ERROR", `null value in column "name" of relation "cells" violates not-null constraint`), StatusFailed, StatusUnknown, ErrValidation, "null value in column", ""},
		"500 foreign key":      {500, envelopeOf("INTERNAL_ERROR", `insert on table "parts" violates foreign key constraint "parts_job_id_fkey"`), StatusFailed, StatusUnknown, ErrParentNotFound, "foreign key", "sync the parent first"},
		"500 too long":         {500, envelopeOf("INTERNAL_ERROR", "Failed to sync jobs: value too long for type character varying(50)"), StatusFailed, StatusUnknown, ErrValidation, "value too long", ""},
		"500 primary key":      {500, envelopeOf("INTERNAL_ERROR", `duplicate key value violates unique constraint "jobs_pkey"`), StatusFailed, StatusUnknown, ErrConflict, "jobs_pkey", ""},
		"500 numeric code":     {500, `{"success":false,"error":{"code":23505,"message":"duplicate key value violates unique constraint \"jobs_tenant_id_job_number_key\""}}`, StatusFailed, StatusUnknown, ErrNaturalKeyTaken, "duplicate key", "rename one of the two"},
		// Turned away unread.
		"429":          {429, envelopeOf("RATE_LIMIT_EXCEEDED", "100 requests per day"), StatusNotSent, StatusNotSent, ErrRateLimited, "429 RATE_LIMIT_EXCEEDED: 100 requests per day", "sync again later"},
		"429 HTML":     {429, gatewayPage, StatusNotSent, StatusNotSent, ErrRateLimited, "429", "sync again later"},
		"200 too many": {200, envelopeOf("RATE_LIMIT_EXCEEDED", "100 requests per day"), StatusNotSent, StatusNotSent, ErrRateLimited, "200 RATE_LIMIT_EXCEEDED", "sync again later"},
		// Nothing is known.
		"408":                   {408, "", StatusUnknown, StatusUnknown, ErrTimeout, "408 Request Timeout", "sync again later"},
		"500 of unknown cause":  {500, envelopeOf("INTERNAL_ERROR", "Cannot read properties of null"), StatusUnknown, StatusUnknown, ErrServer, "500 INTERNAL_ERROR: Cannot read", "sync again later"},
		"500 that passes":       {500, envelopeOf("INTERNAL_ERROR", "TypeError: fetch failed"), StatusUnknown, StatusUnknown, ErrServer, "fetch failed", "sync again later"},
		"504 that passes":       {504, envelopeOf("INTERNAL_ERROR", "canceling statement due to statement timeout"), StatusUnknown, StatusUnknown, ErrTimeout, "canceling statement", "sync again later"},
		"500 bare string":       {500, `{"error":"boom"}`, StatusUnknown, StatusUnknown, ErrServer, "500 boom", "sync again later"},
		"500 HTML":              {500, gatewayPage, StatusUnknown, StatusUnknown, ErrServer, "500 Internal Server Error (answer is HTML, not the API's)", "sync again later"},
		"500 truncated":         {500, `{"success":false,"err`, StatusUnknown, StatusUnknown, ErrServer, "500 Internal Server Error (answer is not in the API's form)", "sync again later"},
		"500 array":             {500, `[1]`, StatusUnknown, StatusUnknown, ErrServer, "(answer is not in the API's form)", "sync again later"},
		"502":                   {502, gatewayPage, StatusUnknown, StatusUnknown, ErrServer, "502 Bad Gateway (answer is HTML, not the API's)", "sync again later"},
		"503":                   {503, "upstream connect error\nor disconnect", StatusUnknown, StatusUnknown, ErrServer, "503 Service Unavailable (answer: upstream connect error or disconnect)", "sync again later"},
		"504":                   {504, "", StatusUnknown, StatusUnknown, ErrTimeout, "504 Gateway Timeout (empty answer)", "sync again later"},
		"546":                   {546, "WORKER_LIMIT", StatusUnknown, StatusUnknown, ErrServer, "546 failed (answer: WORKER_LIMIT)", "sync again later"},
		"599":                   {599, "", StatusUnknown, StatusUnknown, ErrServer, "599 failed (empty answer)", "sync again later"},
		"200 HTML":              {200, gatewayPage, StatusUnknown, StatusUnknown, ErrBadAnswer, "200 answer is HTML, not JSON", "no proxy or login page"},
		"200 empty":             {200, "", StatusUnknown, StatusUnknown, ErrBadAnswer, "200 empty answer", "no proxy or login page"},
		"200 blank":             {200, " \r\n", StatusUnknown, StatusUnknown, ErrBadAnswer, "200 empty answer", "no proxy or login page"},
		"204":                   {204, "", StatusUnknown, StatusUnknown, ErrBadAnswer, "204 empty answer", "no proxy or login page"},
		"200 truncated":         {200, `{"success":true,"data":{"action":"crea`, StatusUnknown, StatusUnknown, ErrBadAnswer, "200 answer truncated", "no proxy or login page"},
		"200 two values":        {200, createdJob + createdJob, StatusUnknown, StatusUnknown, ErrBadAnswer, "200 answer can't be read", "no proxy or login page"},
		"200 text":              {200, "OK", StatusUnknown, StatusUnknown, ErrBadAnswer, "200 answer can't be read", "no proxy or login page"},
		"200 a plain list":      {200, `[{"id":"1","external_id":"SO-1"}]`, StatusUnknown, StatusUnknown, ErrBadAnswer, "200 answer", "no proxy or login page"},
		"200 null":              {200, `null`, StatusUnknown, StatusUnknown, ErrBadAnswer, "does not say whether it is a success", "no proxy or login page"},
		"200 without success":   {200, `{"data":{"action":"created","id":"1","external_id":"SO-1"}}`, StatusUnknown, StatusUnknown, ErrBadAnswer, "does not say whether it is a success", "no proxy or login page"},
		"200 success as text":   {200, `{"success":"true","data":{"action":"created","id":"1","external_id":"SO-1"}}`, StatusUnknown, StatusUnknown, ErrBadAnswer, "200 answer", "no proxy or login page"},
		"200 without data":      {200, `{"success":true}`, StatusUnknown, StatusUnknown, ErrBadAnswer, "a success without data", "no proxy or login page"},
		"200 null data":         {200, `{"success":true,"data":null}`, StatusUnknown, StatusUnknown, ErrBadAnswer, "a success without data", "no proxy or login page"},
		"200 data as text":      {200, `{"success":true,"data":"created"}`, StatusUnknown, StatusUnknown, ErrBadAnswer, "a success without data", "no proxy or login page"},
		"200 data as list":      {200, `{"success":true,"data":[{"action":"created","id":"1","external_id":"SO-1"}]}`, StatusUnknown, StatusUnknown, ErrBadAnswer, "a success without data", "no proxy or login page"},
		"200 empty data":        {200, `{"success":true,"data":{}}`, StatusUnknown, StatusUnknown, ErrBadAnswer, "", ""},
		"200 refusal, no words": {200, `{"success":false}`, StatusUnknown, StatusUnknown, nil, "200", ""},
		"200 internal error":    {200, envelopeOf("INTERNAL_ERROR", "boom"), StatusUnknown, StatusUnknown, nil, "200 INTERNAL_ERROR: boom", ""},
		"199":                   {199, "", StatusUnknown, StatusUnknown, nil, "199", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := scripted(t, []httpmock.Responder{answer(tt.status, tt.body)}, once())
			res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
			require.Error(t, err)
			assert.Equal(t, tt.single, res.Status)
			assert.Equal(t, tt.status, res.Response.StatusCode)
			assert.Equal(t, 1, res.Attempts)
			assert.NotEmpty(t, res.RequestID)
			assert.Same(t, err, res.Err)
			tt.check(t, res.Outcome, err)

			bulk, err := c.Jobs.BulkSync(t.Context(), []Job{job("SO-1")})
			require.Error(t, err)
			require.Len(t, bulk.Outcomes, 1)
			assert.Equal(t, tt.bulk, bulk.Outcomes[0].Status)
			assert.Equal(t, job("SO-1"), bulk.Outcomes[0].Record, "to be sent again")
			tt.check(t, bulk.Outcomes[0], err)

			_, err = c.Do(t.Context(), "PUT", "/api-jobs/sync", nil, nil)
			if tt.kind != nil && tt.kind != ErrBadAnswer {
				require.ErrorIs(t, err, tt.kind)
			}
			assert.Len(t, s.requests(), 3, "none is repeated")
		})
	}
}

// check holds an outcome and the call's error against the table.
func (tt *truth) check(t *testing.T, o Outcome, err error) {
	t.Helper()
	text := o.Err.Error()
	if tt.kind != nil {
		require.ErrorIs(t, err, tt.kind)
		require.ErrorIs(t, o.Err, tt.kind)
	}
	assert.Equal(t, o.Status == StatusUnknown, errors.Is(err, ErrUnknownOutcome))
	for _, kind := range []error{ErrValidation, ErrUnauthorized, ErrForbidden, ErrQuotaExceeded, ErrNotFound, ErrConflict, ErrNaturalKeyTaken,
		ErrDeletedOnServer, ErrParentNotFound, ErrMissingColumn, ErrTooLarge, ErrRateLimited, ErrServer, ErrTimeout, ErrConnection, ErrRedirect, ErrBadAnswer} {
		if kind != tt.kind {
			assert.NotErrorIs(t, err, kind, "an error has one kind")
		}
	}
	var record *RecordError
	require.ErrorAs(t, err, &record)
	assert.Equal(t, o.Status, record.Status)
	assert.Equal(t, Key{"SAP", "SO-1"}, record.Key)
	assert.Equal(t, o.RequestID, record.RequestID)
	var invalid *ValidationError
	assert.Equal(t, tt.kind == ErrValidation, errors.As(err, &invalid))
	var limited *RateLimitError
	assert.Equal(t, tt.kind == ErrRateLimited, errors.As(err, &limited))
	assert.Contains(t, text, tt.text)
	assert.Contains(t, text, "request id "+o.RequestID)
	last := text[strings.LastIndex(text, ")")+1:]
	if tt.step != "" {
		assert.Contains(t, last, tt.step, "the text ends with what to do")
	}
}

func TestTheAPIErrorKeepsTheAnswer(t *testing.T) {
	long := `{"success":false,"error":{"code":"X","message":"` + strings.Repeat("y", 100<<10) + `"}}`
	c, _ := scripted(t, []httpmock.Responder{answer(400, envelopeOf("BAD_REQUEST", "no")), answer(400, long)}, once())
	_, err := c.Jobs.Sync(t.Context(), job("SO-1"))
	var api *APIError
	require.ErrorAs(t, err, &api)
	assert.Equal(t, envelopeOf("BAD_REQUEST", "no"), string(api.Body()))
	assert.Equal(t, "PUT", api.Method)
	assert.Equal(t, "/api-jobs/sync", api.Path)
	assert.Equal(t, 400, api.StatusCode)
	assert.Equal(t, "BAD_REQUEST", api.Code)
	assert.Equal(t, "no", api.Message)
	assert.Equal(t, 1, api.Attempts)

	_, err = c.Jobs.Sync(t.Context(), job("SO-1"))
	require.ErrorAs(t, err, &api)
	assert.Len(t, api.Body(), 64<<10, "at most 64 KiB are kept")
	assert.Less(t, len(err.Error()), 1000, "and the text stays short")
}

func TestAValidationErrorHasTheServersDetails(t *testing.T) {
	c, _ := scripted(t, []httpmock.Responder{answer(422, `{"success":false,"error":{"code":"VALIDATION_ERROR","message":"✗ 2 validation error(s) in job","statusCode":422,"details":[`+
		`{"field":"job_number","message":"Missing required string field: job_number","constraint":"NOT_NULL","entityType":"job","entityIndex":0},`+
		`{"field":"due_date","message":"Invalid date format for due_date","value":"soon","constraint":"DATE_FORMAT","entityType":"job","entityIndex":0}]}}`)}, once())
	_, err := c.Jobs.Sync(t.Context(), job("SO-1"))
	var invalid *ValidationError
	require.ErrorAs(t, err, &invalid)
	assert.False(t, invalid.Local)
	assert.Equal(t, "VALIDATION_ERROR", invalid.Code)
	assert.Equal(t, "job_number", invalid.Field)
	assert.Equal(t, []FieldError{
		{Field: "job_number", Message: "Missing required string field: job_number", Constraint: "NOT_NULL", EntityType: "job"},
		{Field: "due_date", Message: "Invalid date format for due_date", Constraint: "DATE_FORMAT", Value: "soon", EntityType: "job"},
	}, invalid.Details)
	assert.Contains(t, err.Error(), "due_date: Invalid date format for due_date", "every complaint is told")
	var record *RecordError
	require.ErrorAs(t, err, &record)
	assert.Equal(t, "job_number", record.Field)
	assert.Equal(t, "VALIDATION_ERROR", record.Code)
}

// endless is a body without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
func (endless) Close() error               { return nil }

func TestAnOversizedAnswerIsNotReadToItsEnd(t *testing.T) {
	c, _ := scripted(t, []httpmock.Responder{func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: endless{}}, nil
	}}, once())
	res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
	require.ErrorIs(t, err, ErrBadAnswer)
	assert.Equal(t, StatusUnknown, res.Status)
	assert.ErrorContains(t, err, "answer larger than 64 MiB")
}

// cutBody gives an error after its text.
type cutBody struct {
	io.Reader
	err error
}

func (b cutBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = b.err
	}
	return n, err
}
func (cutBody) Close() error { return nil }

func cutShort(status int, text string, err error) httpmock.Responder {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: cutBody{strings.NewReader(text), err}}, nil
	}
}

func TestAnAnswerThatIsCutShort(t *testing.T) {
	c, s := scripted(t, []httpmock.Responder{cutShort(200, createdJob[:30], io.ErrUnexpectedEOF)}, hasty(2))
	res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
	require.ErrorIs(t, err, ErrConnection)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.Equal(t, StatusUnknown, res.Status)
	assert.ErrorContains(t, err, "answer cut short after 30 bytes")
	assert.Len(t, s.requests(), 2, "it is repeated")

	// A refusal is one, however much of its body came.
	c, s = scripted(t, []httpmock.Responder{cutShort(401, `{"succ`, io.ErrUnexpectedEOF)}, hasty(2))
	_, err = c.Jobs.Sync(t.Context(), job("SO-1"))
	require.ErrorIs(t, err, ErrUnauthorized)
	assert.Len(t, s.requests(), 1)
}

// TestWhatNeverLeftIsNotSent: an error from before anything was sent proves
// that nothing arrived; any other proves nothing.
func TestWhatNeverLeftIsNotSent(t *testing.T) {
	for name, tt := range map[string]struct {
		err      error
		status   Status
		kind     error
		attempts int
	}{
		"no such host":        {&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host"}}, StatusNotSent, ErrConnection, 2},
		"connection refused":  {fmt.Errorf("wrapped: %w", &net.OpError{Op: "dial", Err: errors.New("connection refused")}), StatusNotSent, ErrConnection, 2},
		"proxy unreachable":   {&net.OpError{Op: "proxyconnect", Err: errors.New("refused")}, StatusNotSent, ErrConnection, 2},
		"wrong certificate":   {&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, StatusNotSent, ErrConnection, 1},
		"not TLS":             {tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, StatusNotSent, ErrConnection, 2},
		"dial timeout":        {&net.OpError{Op: "dial", Err: timeoutError{}}, StatusNotSent, ErrTimeout, 2},
		"reset":               {&net.OpError{Op: "read", Err: errors.New("connection reset by peer")}, StatusUnknown, ErrConnection, 2},
		"write failed":        {&net.OpError{Op: "write", Err: errors.New("broken pipe")}, StatusUnknown, ErrConnection, 2},
		"closed early":        {io.EOF, StatusUnknown, ErrConnection, 2},
		"the client's limit":  {timeoutError{}, StatusUnknown, ErrTimeout, 2},
		"who knows":           {errors.New("something odd"), StatusUnknown, ErrConnection, 2},
		"key in a dial error": {&net.OpError{Op: "dial", Err: errors.New("socks: " + testKey)}, StatusNotSent, ErrConnection, 2},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := scripted(t, []httpmock.Responder{httpmock.NewErrorResponder(tt.err)}, hasty(2))
			j := documentedNested
			res, err := c.Jobs.Sync(t.Context(), j)
			require.ErrorIs(t, err, tt.kind)
			assert.Equal(t, tt.status, res.Status)
			assert.Equal(t, 0, res.Response.StatusCode)
			assert.Len(t, s.requests(), tt.attempts)
			assert.NotContains(t, err.Error(), testKey)
			if name != "key in a dial error" {
				require.ErrorIs(t, err, tt.err, "the cause can be asked for")
			}
			want := StatusUnknown
			if tt.status == StatusNotSent {
				want = StatusNotSent
			}
			require.Len(t, res.Nested, 3)
			for _, n := range res.Nested {
				assert.Equal(t, want, n.Status, "nested records share it")
			}
		})
	}
}

type timeoutError struct{}

func (timeoutError) Error() string   { return "i/o timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// An earlier attempt that may have been carried out is not undone by a later
// one that was turned away.
func TestALaterRefusalDoesNotUndoAnEarlierAttempt(t *testing.T) {
	taken := refusal(500, "INTERNAL_ERROR", `duplicate key value violates unique constraint "jobs_tenant_id_job_number_key"`)
	for name, tt := range map[string]struct {
		then   httpmock.Responder
		status Status
		kind   error
	}{
		"401":             {refusal(401, "UNAUTHORIZED", "Invalid API key"), StatusUnknown, ErrUnauthorized},
		"402":             {refusal(402, "QUOTA_EXCEEDED", "limit"), StatusUnknown, ErrQuotaExceeded},
		"404":             {answer(404, ""), StatusUnknown, ErrNotFound},
		"409":             {refusal(409, "CONFLICT", "busy"), StatusUnknown, ErrConflict},
		"dial":            {httpmock.NewErrorResponder(&net.OpError{Op: "dial", Err: errors.New("refused")}), StatusUnknown, ErrConnection},
		"302":             {answer(302, "", "Location", "https://x.example"), StatusUnknown, ErrRedirect},
		"invalid content": {refusal(422, "VALIDATION_ERROR", "job_number is required"), StatusFailed, ErrValidation},
		"number taken":    {taken, StatusFailed, ErrNaturalKeyTaken},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := scripted(t, []httpmock.Responder{broken(), tt.then}, hasty(2))
			res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
			require.ErrorIs(t, err, tt.kind)
			assert.Equal(t, tt.status, res.Status)
			assert.Equal(t, 2, res.Attempts)
		})
	}
}

func TestNothingIsSentOnADeadContext(t *testing.T) {
	c, wire := onWire(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("shutdown"))
	res, err := c.Jobs.Sync(ctx, documentedNested)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, StatusNotSent, res.Status)
	assert.Equal(t, 0, res.Attempts)
	assert.Equal(t, 0, res.Response.Attempts)
	assert.Empty(t, res.RequestID, "no request was made")
	assert.Contains(t, err.Error(), "not sent: ")
	assert.NotContains(t, err.Error(), "request id")
	for _, n := range res.Nested {
		assert.Equal(t, StatusNotSent, n.Status)
	}
	bulk, err := c.Jobs.BulkSync(ctx, jobs(3))
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, Counts{NotSent: 3}, bulk.Counts)
	_, err = c.Do(ctx, "GET", "/api-jobs", nil, nil)
	require.ErrorIs(t, err, context.Canceled)
	assert.Zero(t, wire.GetTotalCallCount())
	assert.Zero(t, c.RateLimit().Requests)
}

func TestACallThatIsBrokenOffIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New(eryxontest.WithLatency(time.Minute, 0))
		c := onServer(t, srv)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		res, err := c.Jobs.Sync(ctx, job("SO-1"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.NotErrorIs(t, err, ErrTimeout, "it was the caller's own limit")
		assert.Equal(t, StatusUnknown, res.Status)
		assert.Equal(t, time.Second, time.Since(start))
		assert.Contains(t, err.Error(), "broken off: context deadline exceeded")
		synctest.Wait()
		time.Sleep(time.Hour) // the server goes on without us
		assert.Len(t, srv.Requests(), 1, "nothing is repeated")
	})
}

func TestTheAttemptTimeoutBoundsOneAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New()
		srv.Script("", eryxontest.Delay(10*time.Minute).After(), eryxontest.StallMidAnswer(10*time.Minute))
		c := onServer(t, srv, WithAttemptTimeout(time.Minute))
		start := time.Now()
		res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
		require.NoError(t, err, "the third attempt gets through")
		assert.Equal(t, StatusSynced, res.Status, "which of the attempts created the row can't be told")
		assert.Equal(t, 3, res.Attempts)
		assert.Greater(t, time.Since(start), 2*time.Minute)
		assert.Less(t, time.Since(start), 3*time.Minute)

		srv.Script("", eryxontest.Delay(time.Hour))
		res, err = c.Jobs.Sync(t.Context(), job("SO-2"), once(), WithAttemptTimeout(time.Second))
		require.ErrorIs(t, err, ErrTimeout)
		assert.ErrorContains(t, err, "no answer within the attempt timeout")
		assert.Equal(t, StatusUnknown, res.Status)
		time.Sleep(2 * time.Hour)
	})
}
