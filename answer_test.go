package eryxon

import (
	"testing"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestASingleAnswerThatContradictsItselfIsUnknown(t *testing.T) {
	const id, other = "550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440001"
	for data, text := range map[string]string{
		`{"action":"created","id":"` + id + `","external_id":"SO-1","error":"boom"}`:                                           `says "created" and gives an error: boom`,
		`{"action":"created","id":"` + id + `","external_id":"SO-1","error":{"code":"X"}}`:                                     `says "created" and gives an error: X`,
		`{"job":{"id":"` + id + `","external_id":"SO-1"},"error":["boom"]}`:                                                    "gives an error: boom",
		`{"action":"created","id":"` + id + `","external_id":"SO-9","job":{"id":"` + id + `","external_id":"SO-1"}}`:           `gives the external_id as "SO-9" and, in its row, as "SO-1"`,
		`{"action":"created","id":"` + id + `","external_id":"SO-9","job":{"id":"` + id + `","external_id":null}}`:             `speaks of another record, "SO-9"`,
		`{"action":"created","id":"` + other + `","external_id":"SO-1","job":{"id":"` + id + `","external_id":"SO-1"}}`:        `gives the id as "` + other + `" and, in its row, as "` + id,
		`{"action":"updated","external_source":"Odoo","job":{"id":"` + id + `","external_id":"SO-1","external_source":"SAP"}}`: `gives the external_source as "Odoo" and`,
	} {
		c, _ := scripted(t, []httpmock.Responder{answer(201, `{"success":true,"data":`+data+`}`)}, once())
		res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
		assert.Equal(t, StatusUnknown, res.Status, data)
		require.ErrorIs(t, err, ErrBadAnswer, data)
		assert.ErrorContains(t, err, text)
	}
	for _, data := range []string{
		`{"action":"created","id":"` + id + `","external_id":"SO-1","job":{"id":"` + id + `","external_id":"SO-1"}}`,
		`{"action":"created","id":"` + id + `","external_id":"SO-1","error":null,"job":{"id":"` + id + `"}}`,
		`{"action":"created","id":"` + id + `","external_id":"SO-1","error":""}`,
	} {
		c, _ := scripted(t, []httpmock.Responder{answer(201, `{"success":true,"data":`+data+`}`)}, once())
		res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
		require.NoError(t, err, data)
		assert.Equal(t, StatusCreated, res.Status)
		assert.Equal(t, id, res.ID)
	}
}

func TestAnOddDetailSpoilsItselfAlone(t *testing.T) {
	for _, details := range []string{
		`[null,{"field":"priority","message":"m"}]`,
		`[{"field":"priority","message":"m","entityIndex":"0"}]`,
		`[7,[],"x",{"field":"priority","message":"m","constraint":{}}]`,
	} {
		c, _ := scripted(t, []httpmock.Responder{answer(422, `{"success":false,"error":{"code":"VALIDATION_ERROR","message":"bad","details":`+details+`}}`)}, once())
		_, err := c.Jobs.Sync(t.Context(), job("SO-1"))
		var invalid *ValidationError
		require.ErrorAs(t, err, &invalid, details)
		assert.Equal(t, []FieldError{{Field: "priority", Message: "m"}}, invalid.Details)
		assert.Equal(t, "priority", recordErrorOf(t, err).Field)
	}
}

// oneFailed is the documented bulk answer of one failed record.
func oneFailed(fault string) httpmock.Responder {
	return answer(200, `{"success":true,"data":{"total":1,"created":0,"updated":0,"errors":1,"results":[{"external_id":"A","action":"error","error":`+fault+`}]}}`)
}

func TestABulksReasonIsReadInEveryForm(t *testing.T) {
	for fault, want := range map[string]struct {
		code, message, field string
		kind                 error
	}{
		`"job_number is required"`:                                              {"VALIDATION_ERROR", "job_number is required", "job_number", ErrValidation},
		`{"code":"BAD_REQUEST","message":"job_number is required"}`:             {"BAD_REQUEST", "job_number is required", "job_number", ErrValidation},
		`{"code":"VALIDATION_ERROR","message":"no good"}`:                       {"VALIDATION_ERROR", "no good", "", ErrValidation},
		`{"code":"CONFLICT"}`:                                                   {"CONFLICT", "the server gave no reason", "", ErrConflict},
		`{"code":42,"message":"column jobs.priority does not exist"}`:           {"42", "column jobs.priority does not exist", "priority", ErrMissingColumn},
		`{"message":"bad","details":[{"field":"status","message":"m"}]}`:        {"VALIDATION_ERROR", "bad", "status", ErrValidation},
		`["job_number is required","name is required"]`:                         {"VALIDATION_ERROR", "job_number is required; name is required", "job_number", ErrValidation},
		`[{"field":"status","message":"Invalid value","entityIndex":0}]`:        {"VALIDATION_ERROR", "Invalid value", "status", ErrValidation},
		`{"field":"job_number","message":"is required"}`:                        {"VALIDATION_ERROR", "is required", "job_number", ErrValidation},
		`{"code":"QUOTA_EXCEEDED","message":"Job limit","details":{"limit":1}}`: {"QUOTA_EXCEEDED", "Job limit", "", ErrQuotaExceeded},
		`{}`: {"", "the server gave no reason", "", nil},
	} {
		c, _ := scripted(t, []httpmock.Responder{oneFailed(fault)}, once())
		res, err := c.Jobs.BulkSync(t.Context(), []Job{job("A")})
		assert.Equal(t, StatusFailed, res.Outcomes[0].Status, fault)
		if want.kind != nil {
			require.ErrorIs(t, err, want.kind, fault)
		}
		e := recordErrorOf(t, res.Outcomes[0].Err)
		assert.Equal(t, want.code, e.Code, fault)
		assert.Equal(t, want.message, e.Message, fault)
		assert.Equal(t, want.field, e.Field, fault)
	}
}

func TestABulksReasonThatPassesIsTheServersNotTheRecords(t *testing.T) {
	for _, text := range []string{"deadlock detected", "canceling statement due to statement timeout", "TypeError: fetch failed", `too many connections for role \"authenticator\"`} {
		c, _ := scripted(t, []httpmock.Responder{oneFailed(`"` + text + `"`)}, once())
		res, err := c.Jobs.BulkSync(t.Context(), []Job{job("A")})
		require.ErrorIs(t, err, ErrServer, text)
		assert.NotErrorIs(t, err, ErrValidation, text)
		assert.Equal(t, StatusFailed, res.Outcomes[0].Status)
	}
}

// A server that leaves the documented list out is not one that counts: its
// records are unknown, and what follows is sent to it as documented.
func TestDocumentedCountsWithoutTheListTellNoRelease(t *testing.T) {
	for _, list := range []string{``, `,"results":null`, `,"results":"none"`} {
		c, s := scripted(t, []httpmock.Responder{answer(200, `{"success":true,"data":{"total":1,"created":1,"updated":0,"errors":0`+list+`}}`)}, once())
		res, err := c.Jobs.BulkSync(t.Context(), []Job{job("A")})
		require.ErrorIs(t, err, ErrUnknownOutcome)
		assert.Equal(t, StatusUnknown, res.Outcomes[0].Status)
		assert.Equal(t, ReleaseUnknown, c.Release())
		assert.Len(t, s.requests(), 1)
	}
}

// An error's text stays on one line of a log, whatever code and details hold.
func TestCodesAndDetailsFitOneLineOfALog(t *testing.T) {
	c, _ := scripted(t, []httpmock.Responder{answer(422, `{"success":false,"error":{"code":"VALIDATION_ERROR","message":"bad","details":[{"field":"a\nb","message":"c\r\nd"}]}}`)}, once())
	_, err := c.Jobs.Sync(t.Context(), job("SO-1"))
	assert.ErrorContains(t, err, "a b: c d")
	c, _ = scripted(t, []httpmock.Responder{oneFailed(`{"code":"a\nb","message":"job_number is required"}`)}, once())
	_, err = c.Jobs.BulkSync(t.Context(), []Job{job("A")})
	assert.ErrorContains(t, err, "a b: job_number is required")
}
