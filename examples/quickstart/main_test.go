package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
)

// against makes the environment name the server, or none.
func against(t *testing.T, srv *eryxontest.Server) {
	t.Helper()
	if srv == nil {
		srv = &eryxontest.Server{}
	}
	t.Setenv(eryxon.EnvBaseURL, srv.URL)
	t.Setenv(eryxon.EnvAPIKey, srv.Key)
}

func TestOnItsOwn(t *testing.T) {
	against(t, nil)
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	got := out.String()
	got = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`).ReplaceAllString(got, "UUID")
	got = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(got, "ADDRESS")
	got = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`).ReplaceAllString(got, "TIME")
	golden := filepath.Join("testdata", "output.txt")
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.MkdirAll("testdata", 0o750))
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "run the test with UPDATE=1 if this is better")
}

// TestSendsTheReference holds the requests against the reference's own payloads.
func TestSendsTheReference(t *testing.T) {
	srv := eryxontest.NewServer(t)
	against(t, srv)
	require.NoError(t, run(t.Context(), io.Discard))

	// In place of a payload, nil: the reference shows none.
	type request struct{ line, body string }
	want := []request{
		{"PUT /api-cells/sync", `{"external_id":"WC-CUTTING","external_source":"SAP","name":"Cutting","color":"#3b82f6","sequence":1,"active":true}`},
		{"POST /api-cells/bulk-sync", ""},
		{"PUT /api-resources/sync", `{"external_id":"TOOL-001","external_source":"SAP","name":"CNC Mill #1","type":"equipment","description":"5-axis CNC milling machine","identifier":"MILL-001","location":"Building A, Bay 3","status":"available"}`},
		{"POST /api-resources/bulk-sync", ""},
		{"PUT /api-jobs/sync", `{"external_id":"SO-12345","external_source":"SAP","job_number":"JOB-2024-001","customer":"Acme Corp","due_date":"2024-12-31","priority":5,"notes":"Synced from SAP"}`},
		{"PUT /api-jobs/sync", `{"external_id":"SO-12345","external_source":"SAP","job_number":"JOB-2024-001","customer":"Acme Corp","parts":[
			{"external_id":"SO-12345-10","part_number":"BRACKET-A","material":"Steel 304","quantity":25,"operations":[
				{"external_id":"SO-12345-10-010","operation_name":"Laser Cut","cell_name":"Cutting","sequence":1,"estimated_time_minutes":30},
				{"external_id":"SO-12345-10-020","operation_name":"Bend 90°","cell_name":"Bending","sequence":2,"estimated_time_minutes":15}]}]}`},
		{"POST /api-jobs/bulk-sync", `{"jobs":[{"external_id":"SO-001","external_source":"SAP","job_number":"JOB-001","customer":"Customer A"},{"external_id":"SO-002","external_source":"SAP","job_number":"JOB-002","customer":"Customer B"}]}`},
		{"PUT /api-parts/sync", `{"external_id":"SO-12345-10","external_source":"SAP","job_external_id":"SO-12345","part_number":"BRACKET-A","material":"Steel 304","quantity":25,"notes":"Handle with care"}`},
		{"GET /api-cells", ""}, // would this server overwrite the material that the next part leaves out?
		{"POST /api-parts/bulk-sync", `{"parts":[{"external_id":"SO-001-10","external_source":"SAP","job_external_id":"SO-001","part_number":"PART-A","quantity":10}]}`},
		{"PUT /api-operations/sync", `{"external_id":"SO-12345-10-010","external_source":"SAP","part_external_id":"SO-12345-10","operation_name":"Laser Cut","cell_name":"Cutting","sequence":1,"estimated_time_minutes":30,"notes":"Use 1000W laser"}`},
		{"POST /api-operations/bulk-sync", ""},
		{"PUT /api-jobs/sync", `{"external_source":"SAP","job_number":"JOB-003"}`},
		{"POST /api-parts/bulk-sync", ""},
	}
	got := srv.Requests()
	require.Len(t, got, len(want))
	for i, w := range want {
		assert.Equal(t, w.line, got[i].Method+" "+strings.TrimPrefix(got[i].Path, "/functions/v1"))
		if w.body != "" {
			assert.JSONEq(t, w.body, string(got[i].Body))
		}
	}
	_, there := srv.Row(eryxontest.Operations, "SAP", "SO-12345-10-020")
	assert.True(t, there, "the nested operation")
}

func TestTwiceIsAsGoodAsOnce(t *testing.T) {
	srv := eryxontest.NewServer(t)
	against(t, srv)
	require.NoError(t, run(t.Context(), io.Discard))
	require.NoError(t, run(t.Context(), io.Discard))
}

func TestTellsWhatIsUnexpected(t *testing.T) {
	t.Run("one record", func(t *testing.T) {
		srv := eryxontest.NewServer(t)
		against(t, srv)
		srv.FailRecord(eryxontest.Jobs, "SO-002", "out of paper")
		var out bytes.Buffer
		err := run(t.Context(), &out)
		require.ErrorContains(t, err, "out of paper")
		assert.Contains(t, out.String(), "NOT AS EXPECTED: eryxon: 1 job of 2 did not succeed")
		assert.Contains(t, out.String(), "Refused, as they should be", "the rest is shown all the same")
	})
	t.Run("nothing works", func(t *testing.T) {
		srv := eryxontest.NewServer(t)
		against(t, srv)
		srv.RevokeKey()
		require.ErrorIs(t, run(t.Context(), io.Discard), eryxon.ErrUnauthorized)
		assert.LessOrEqual(t, len(srv.Requests()), 2, "a key that is refused is not tried again and again")
	})
	t.Run("interrupted", func(t *testing.T) {
		against(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, run(ctx, io.Discard), context.Canceled)
	})
	t.Run("nothing is refused", func(t *testing.T) {
		srv := eryxontest.NewServer(t)
		against(t, srv)
		srv.Seed(eryxontest.Jobs, eryxontest.Row{"external_id": "SO-404", "external_source": "SAP", "job_number": "JOB-404"})
		require.ErrorContains(t, run(t.Context(), io.Discard), "want one record refused, got: no error")
	})
	t.Run("half an environment", func(t *testing.T) {
		against(t, &eryxontest.Server{Key: "ery_live_x"})
		require.ErrorContains(t, run(t.Context(), io.Discard), "set it to the installation's API")
	})
}
