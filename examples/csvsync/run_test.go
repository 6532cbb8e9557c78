package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
)

// small is a folder in which everything is right.
func small() map[string]string {
	return map[string]string{
		"cells.csv":      "external_id,name\nC-1,Cutting\n",
		"resources.csv":  "external_id,name,type\nR-1,Mill,equipment\n",
		"jobs.csv":       "external_id,job_number,due_date\nSO-1,J-1,2026-12-31\nSO-2,J-2,\n",
		"parts.csv":      "external_id,part_number,job_external_id,quantity\nP-1,A,SO-1,5\nP-2,B,SO-2,6\n",
		"operations.csv": "external_id;operation_name;part_external_id;cell_name;estimated_time_minutes\nO-1;Cut;P-1;Cutting;12,5\nO-2;Cut;P-2;Cutting;7\n",
	}
}

func TestAllArrive(t *testing.T) {
	srv := eryxontest.NewServer(t)
	audit := filepath.Join(t.TempDir(), "audit.ndjson")
	dir := folder(t, small())
	got := csvsync(t, srv, "-source", "ERP", "-audit", audit, "-concurrency", "2", dir)
	assert.Equal(t, exitDone, got.status, got.stderr)
	assert.Contains(t, got.stdout, "All 8 records arrived.\n")
	assert.Equal(t, "8 of 8 records: 8 created; 5 requests\n", got.stderr)
	assert.Nil(t, srv.Orphans())
	row, ok := srv.Row(eryxontest.Operations, "ERP", "O-1")
	require.True(t, ok)
	assert.InDelta(t, 12.5, row["estimated_time"], 0)

	got = csvsync(t, srv, "-source", "ERP", "-audit", audit, dir)
	assert.Equal(t, exitDone, got.status)
	assert.Contains(t, got.stderr, "8 updated")
	assert.Equal(t, 16, strings.Count(readText(t, audit), "\n"), "both runs are in the audit log")
}

// TestOnTheWire tells apart what is left alone, cleared and set.
func TestOnTheWire(t *testing.T) {
	srv := eryxontest.NewServer(t)
	dir := folder(t, map[string]string{"jobs.csv": "external_id,job_number,customer,notes,project\n007,J-1,,\\N,0815\n"})
	got := csvsync(t, srv, "-source", "ERP", dir)
	assert.Equal(t, exitDone, got.status, got.stderr)
	assert.Contains(t, got.stderr, "note: jobs.csv: not in the API reference, sent as they are: project\n")
	require.Len(t, srv.Requests(), 2, "the first asks whether this server keeps what null should clear")
	assert.JSONEq(t, `{"jobs":[{"external_id":"007","external_source":"ERP","job_number":"J-1","notes":null,"project":"0815"}]}`, string(srv.Requests()[1].Body))
}

func TestPartialFailure(t *testing.T) {
	srv := eryxontest.NewServer(t)
	files := small()
	files["jobs.csv"] = "external_id,job_number,due_date\nSO-1,J-1,\nSO-2,J-2,soon\nSO-3,,\n"
	files["parts.csv"] = "external_id,part_number,job_external_id\nP-1,A,SO-1\nP-2,B,SO-2\nP-3,C,SO-3\nP-4,D,SO-9\n"
	files["Orders.CSV"] = "x\n"
	got := csvsync(t, srv, "-source", "ERP", folder(t, files))
	assert.Equal(t, exitPartial, got.status)
	stderr := masked(got.stderr)
	for _, line := range []string{
		"note: Orders.CSV is none of the five files: not read",
		`jobs.csv:3: due_date: "soon" is not a date: want YYYY-MM-DD and a day that exists`,
		"parts.csv:3: parent failed: its job (jobs.csv:3) is not sent",
		"operations.csv:3: parent failed: its part (parts.csv:3) is not sent",
		"jobs.csv:4: job_number is required",
		"parts.csv:4: parent failed: its job (jobs.csv:4) is not sent",
	} {
		assert.Contains(t, stderr, line+"\n")
	}
	assert.Contains(t, stderr, `parts.csv:5: part ERP/P-4: failed: Job with external_id "SO-9" not found (request id UUID)`)
	assert.NotContains(t, stderr, "(record ")
	assert.Contains(t, got.stdout, "5 of 11 records arrived.\n")
	assert.Len(t, srv.Rows(eryxontest.Parts), 1)
}

// TestChildrenOfUnreadableParents are kept back only where nothing stands for
// the parent.
func TestChildrenOfUnreadableParents(t *testing.T) {
	srv := eryxontest.NewServer(t)
	got := csvsync(t, srv, "-source", "ERP", folder(t, map[string]string{
		"cells.csv":      "external_id,name,active\nC-1,Cutting,perhaps\nC-2,Bending,perhaps\nC-3,Bending,yes\n",
		"jobs.csv":       "external_id,job_number,external_source,priority\nSO-1,J-1,SAP,high\nSO-1,J-2,,1\n",
		"parts.csv":      "external_id,part_number,job_external_id,external_source\nP-1,A,SO-1,SAP\nP-2,B,SO-1,\n",
		"operations.csv": "external_id,operation_name,part_external_id,cell_name\nO-1,Cut,P-2,Cutting\nO-2,Bend,P-2,Bending\n",
	}))
	assert.Equal(t, exitPartial, got.status)
	assert.Contains(t, got.stderr, "parts.csv:2: parent failed: its job (jobs.csv:2) is not sent\n")
	assert.Contains(t, got.stderr, "operations.csv:2: parent failed: its cell (cells.csv:2) is not sent\n")
	assert.NotContains(t, got.stderr, "parts.csv:3")
	assert.NotContains(t, got.stderr, "operations.csv:3")
	assert.Nil(t, srv.Orphans())
}

func TestReplayAfterCorrection(t *testing.T) {
	srv := eryxontest.NewServer(t)
	files := small()
	files["jobs.csv"] = "external_id,job_number,due_date,project\nSO-1,J-1,31.12.2026,0815\nSO-2,J-2,,\n"
	files["parts.csv"] = "external_id,part_number,job_external_id,quantity\nP-1,A,SO-1,5\nP-2,B,SO-X,6\n"
	failed := filepath.Join(t.TempDir(), "failed.ndjson")
	got := csvsync(t, srv, "-source", "ERP", "-failed", failed, folder(t, files))
	require.Equal(t, exitPartial, got.status, got.stderr)
	assert.Contains(t, got.stdout, "The other 5 are in "+failed)
	text := readText(t, failed)
	assert.Equal(t, 5, strings.Count(text, "\n"), text)

	// As it is, it tells what has to be corrected, and sends nothing.
	before := len(srv.Requests())
	got = csvsync(t, srv, "-replay", failed)
	assert.Equal(t, exitNothing, got.status)
	assert.Contains(t, got.stderr, "failed records, line 1 (")
	assert.Contains(t, got.stderr, "31.12.2026")
	assert.Len(t, srv.Requests(), before)

	text = strings.Replace(text, `"due_date":"31.12.2026"`, `"due_date":"2026-12-31"`, 1)
	text = strings.ReplaceAll(text, `"job_external_id":"SO-X"`, `"job_external_id":"SO-Y"`)
	require.NoError(t, os.WriteFile(failed, []byte("\ufeff"+strings.ReplaceAll(text, "\n", "\r\n")+"\r\n"), 0o600))
	again := filepath.Join(t.TempDir(), "again.ndjson")
	got = csvsync(t, srv, "-replay", failed, "-failed", again)
	assert.Equal(t, exitPartial, got.status, got.stderr)
	assert.Regexp(t, `failed\.ndjson:\d: part ERP/P-2: failed: Job with external_id "SO-Y" not found`, got.stderr)
	assert.Regexp(t, `failed\.ndjson:\d: parent failed: its part \(failed\.ndjson:\d\) is not sent`, got.stderr)

	text = strings.ReplaceAll(readText(t, again), `"job_external_id":"SO-Y"`, `"job_external_id":"SO-2"`)
	require.NoError(t, os.WriteFile(again, []byte(text), 0o600))
	got = csvsync(t, srv, "-replay", again)
	assert.Equal(t, exitDone, got.status, got.stderr)
	assert.Contains(t, got.stdout, "All 2 records arrived.\n")
	for e, n := range map[eryxontest.Entity]int{
		eryxontest.Cells: 1, eryxontest.Resources: 1, eryxontest.Jobs: 2, eryxontest.Parts: 2, eryxontest.Operations: 2,
	} {
		assert.Len(t, srv.Rows(e), n, e)
	}
	row, ok := srv.Row(eryxontest.Jobs, "ERP", "SO-1")
	require.True(t, ok)
	assert.Equal(t, "0815", row["project"])
}

// TestNothingUnreadableReplays demands that no line of the failed-records file
// whose record could not be read goes through uncorrected.
func TestNothingUnreadableReplays(t *testing.T) {
	srv := eryxontest.NewServer(t)
	for name, file := range map[string][2]string{
		"date":             {"jobs.csv", "external_id,job_number,due_date\n1,J,soon\n"},
		"whole number":     {"jobs.csv", "external_id,job_number,priority\n1,J,1.5\n"},
		"number":           {"operations.csv", "external_id,part_id,operation_name,cell_id,estimated_time_minutes\n1,P,O,C,1e3\n"},
		"boolean":          {"cells.csv", "external_id,name,active\n1,A,perhaps\n"},
		"null":             {"cells.csv", "external_id,name\n1,\\N\n"},
		"not UTF-8":        {"cells.csv", "external_id,name,color,x\n1,B\xfcgeln,,\xfc\n"},
		"too many cells":   {"cells.csv", "external_id,name\n1,A,B\n"},
		"too few cells":    {"cells.csv", "external_id,name,color\n1,A\n"},
		"NUL beside a bad": {"cells.csv", "external_id,name,active\n1,A\x00,perhaps\n"},
	} {
		t.Run(name, func(t *testing.T) {
			failed := filepath.Join(t.TempDir(), "failed.ndjson")
			got := csvsync(t, srv, "-source", "ERP", "-failed", failed, folder(t, map[string]string{file[0]: file[1]}))
			assert.Equal(t, exitNothing, got.status)
			assert.Contains(t, got.stdout, "0 of 1 records arrived.\n")
			assert.Equal(t, 1, strings.Count(readText(t, failed), "\n"))
			got = csvsync(t, srv, "-source", "ERP", "-replay", failed)
			assert.Equal(t, exitNothing, got.status)
			assert.Contains(t, got.stderr, "failed records, line 1")
		})
	}
	assert.Empty(t, srv.Requests())
}

func TestDryRun(t *testing.T) {
	srv := eryxontest.NewServer(t)
	failed := filepath.Join(t.TempDir(), "failed.ndjson")
	got := csvsync(t, srv, "-source", "ERP", "-dry-run", "-failed", failed, "-audit", failed+".audit", folder(t, small()))
	assert.Equal(t, exitDone, got.status, got.stderr)
	assert.Empty(t, got.stderr)
	assert.Contains(t, got.stdout, "Nothing was sent.")
	assert.Regexp(t, `total +8 +0 +5 *\n`, got.stdout)

	files := small()
	files["jobs.csv"] = "external_id,job_number,due_date\nSO-1,,2026-12-31\nSO-2,J-2,soon\nSO-3,J-3,\n"
	got = csvsync(t, srv, "-source", "ERP", "-dry-run", "-budget", "3", folder(t, files))
	assert.Equal(t, exitPartial, got.status)
	assert.Contains(t, got.stderr, "jobs.csv:2: job_number is required\n")
	assert.Contains(t, got.stderr, "jobs.csv:3: due_date: ")
	assert.Contains(t, got.stdout, "The budget of 3 requests is too small.\n")
	assert.Regexp(t, `jobs +3 +2 +1 *\n`, got.stdout)

	got = csvsync(t, srv, "-source", "ERP", "-dry-run", folder(t, map[string]string{"cells.csv": "external_id,name\n1,\n"}))
	assert.Equal(t, exitNothing, got.status)

	assert.Empty(t, srv.Requests(), "a dry run makes no request")
	assert.NoFileExists(t, failed)
	assert.NoFileExists(t, failed+".audit")
}

func TestBudget(t *testing.T) {
	srv := eryxontest.NewServer(t)
	dir := folder(t, small())
	failed := filepath.Join(t.TempDir(), "failed.ndjson")
	got := csvsync(t, srv, "-source", "ERP", "-budget", "2", "-concurrency", "1", "-failed", failed, dir)
	assert.Equal(t, exitPartial, got.status)
	assert.Len(t, srv.Requests(), 2)
	assert.Contains(t, got.stderr, "csvsync: ")
	assert.Equal(t, 1, strings.Count(got.stderr, "budget spent"), "told once, not for each record: %s", got.stderr)
	got = csvsync(t, srv, "-replay", failed)
	assert.Equal(t, exitDone, got.status, got.stderr)
	assert.Len(t, srv.Rows(eryxontest.Operations), 2)
}

func TestNothingCanBeDone(t *testing.T) {
	dir := folder(t, small())
	t.Run("key revoked", func(t *testing.T) {
		srv := eryxontest.NewServer(t)
		srv.RevokeKey()
		got := csvsync(t, srv, "-source", "ERP", dir)
		assert.Equal(t, exitNothing, got.status)
		assert.Contains(t, got.stderr, "401")
		assert.NotContains(t, got.stderr, srv.Key)
		assert.Contains(t, got.stdout, "0 of 8 records arrived.")
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		srv := eryxontest.NewServer(t)
		got := csvsyncIn(ctx, srv, "-source", "ERP", dir)
		assert.Equal(t, exitNothing, got.status)
		assert.Contains(t, got.stderr, "context canceled")
		assert.Empty(t, srv.Requests())
	})
	t.Run("quota used up", func(t *testing.T) {
		srv := eryxontest.NewServer(t)
		srv.Script("", eryxontest.TooManyRequests(http.Header{"Retry-After": {"86399"}}))
		got := csvsync(t, srv, "-source", "ERP", "-concurrency", "1", dir)
		assert.Equal(t, exitNothing, got.status)
		assert.Contains(t, got.stderr, "429")
		assert.Len(t, srv.Requests(), 1)
	})
}

func TestBadUsage(t *testing.T) {
	dir := folder(t, small())
	empty := t.TempDir()
	env := func(string) string { return "" }
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"no folder", nil, "want one folder, got 0"},
		{"two folders", []string{dir, dir}, "want one folder, got 2"},
		{"a folder and -replay", []string{"-replay", "x", dir}, "-replay takes no folder"},
		{"no such flag", []string{"-fast", dir}, "flag provided but not defined: -fast"},
		{"no such folder", []string{filepath.Join(dir, "x")}, "no such file or directory"},
		{"nothing in the folder", []string{empty}, "none of the five files is there"},
		{"no such file", []string{"-replay", filepath.Join(dir, "x")}, "no such file or directory"},
		{"-budget", []string{"-budget", "-1", dir}, "-budget -1: want 0 or more"},
		{"-concurrency", []string{"-source", "ERP", "-concurrency", "65", dir}, "65"},
		{"-failed over an input", []string{"-failed", filepath.Join(dir, "jobs.csv"), dir}, "is the file of input too"},
		{"-failed over -replay", []string{"-replay", "x", "-failed", "./x"}, "is the file of -replay too"},
		{"-failed and -audit", []string{"-audit", "x", "-failed", "./x", dir}, "is the file of -failed too"},
		{"-failed nowhere", []string{"-source", "ERP", "-failed", filepath.Join(dir, "x", "y"), dir}, "no such file or directory"},
		{"-audit nowhere", []string{"-source", "ERP", "-audit", filepath.Join(dir, "x", "y"), dir}, "no such file or directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			assert.Equal(t, exitNothing, run(t.Context(), tt.args, env, &stdout, &stderr))
			assert.Contains(t, stderr.String(), tt.want)
		})
	}
	assert.Contains(t, readText(t, filepath.Join(dir, "jobs.csv")), "SO-1", "inputs are as they were")

	var stdout, stderr bytes.Buffer
	assert.Equal(t, exitDone, run(t.Context(), []string{"-h"}, env, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "-dry-run")
	half := func(name string) string {
		if name == eryxon.EnvAPIKey {
			return "ery_live_x"
		}
		return ""
	}
	stderr.Reset()
	assert.Equal(t, exitNothing, run(t.Context(), []string{"-source", "ERP", dir}, half, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "set both ERYXON_BASE_URL and ERYXON_API_KEY")
}

func TestNothingToSync(t *testing.T) {
	got := csvsync(t, nil, "-source", "ERP", folder(t, map[string]string{"jobs.csv": "external_id,job_number\n"}))
	assert.Equal(t, exitDone, got.status, got.stderr)
	assert.Contains(t, got.stdout, "There was nothing to sync.")
}

func TestRepeatedRecords(t *testing.T) {
	got := csvsync(t, nil, "-source", "ERP", folder(t, map[string]string{
		"cells.csv": "external_id,name\n1,A\n1,A\n2,B\n3,C\n3,D\n",
	}))
	assert.Equal(t, exitPartial, got.status)
	assert.Contains(t, got.stderr, `cells.csv:5: external_id "3" stands on several records of different content (lines 5, 6): leave one of them`)
	assert.Contains(t, got.stdout, "2 of 4 records arrived.\n")
}

func TestProgressLines(t *testing.T) {
	var out bytes.Buffer
	show := progressLines(&out)
	for _, second := range []int{1, 2, 6, 7, 12} {
		show(eryxon.Progress{Done: second, Total: 20, Counts: eryxon.Counts{Created: second}, Requests: second, Elapsed: time.Duration(second) * time.Second})
	}
	show(eryxon.Progress{Done: 20, Total: 20, Counts: eryxon.Counts{Created: 19, Failed: 1}, Requests: 20, Elapsed: 13 * time.Second, Final: true})
	assert.Equal(t, `6 of 20 records: 6 created; 6 requests
12 of 20 records: 12 created; 12 requests
20 of 20 records: 19 created, 1 failed; 20 requests
`, out.String())
}

func TestProgressBar(t *testing.T) {
	var out bytes.Buffer
	show := progressBar(&out)
	show(eryxon.Progress{Done: 5, Total: 20, Counts: eryxon.Counts{Created: 5}})
	show(eryxon.Progress{Done: 20, Total: 20, Counts: eryxon.Counts{Created: 19, Failed: 1}, Final: true})
	assert.Contains(t, out.String(), "25%")
	assert.Contains(t, out.String(), "100%")
	assert.Contains(t, out.String(), "19 created, 1 failed")
	assert.True(t, strings.HasSuffix(out.String(), "\n"))
	assert.NotContains(t, out.String(), "\n\n")

	out.Reset() // a dataset without records
	progressBar(&out)(eryxon.Progress{Final: true})
	assert.NotPanics(t, func() { progressOn(&out) })
}

// masked is a text without what differs from run to run.
func masked(text string) string {
	text = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`).ReplaceAllString(text, "UUID")
	text = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(text, "ADDRESS")
	text = regexp.MustCompile(`\b\d+(\.\d+)?m?s\b`).ReplaceAllString(text, "TIME")
	return regexp.MustCompile(` +`).ReplaceAllString(text, " ")
}

// TestSample holds the sample's run against what it should print.
func TestSample(t *testing.T) {
	failed := filepath.Join(t.TempDir(), "failed.ndjson")
	got := csvsync(t, nil, "-source", "DEMO", "-concurrency", "1", "-failed", failed, "sample")
	assert.Equal(t, exitPartial, got.status)
	out := strings.ReplaceAll(masked(got.stdout), failed, "failed.ndjson")
	for file, text := range map[string]string{"stdout.txt": out, "stderr.txt": masked(got.stderr)} {
		golden := filepath.Join("testdata", file)
		if os.Getenv("UPDATE") != "" {
			require.NoError(t, os.MkdirAll("testdata", 0o750))
			require.NoError(t, os.WriteFile(golden, []byte(text), 0o600))
		}
		assert.Equal(t, readText(t, golden), text, "run the test with UPDATE=1 if this is better")
	}
	for line := range strings.Lines(readText(t, failed)) {
		assert.True(t, json.Valid([]byte(line)), line)
	}
	assert.Equal(t, 36, strings.Count(readText(t, failed), "\n"))
}

func TestDoctor(t *testing.T) {
	srv := eryxontest.NewServer(t)
	got := csvsync(t, srv, "-doctor")
	assert.Equal(t, exitDone, got.status, got.stdout)
	assert.Contains(t, got.stdout, "accepted")
	srv.RevokeKey()
	got = csvsync(t, srv, "-doctor")
	assert.Equal(t, exitNothing, got.status)
	assert.Contains(t, got.stdout, "not accepted: Invalid API key")
	assert.Empty(t, srv.Rows(eryxontest.Jobs))
	got = csvsync(t, srv, "-doctor", folder(t, small()))
	assert.Equal(t, exitNothing, got.status)
	assert.Contains(t, got.stderr, "-doctor takes neither")
}
