package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
	"github.com/eryxon/eryxon-go/syncstate"
)

// TestBrokenFiles: a file that can't be read stops the run before anything is
// sent.
func TestBrokenFiles(t *testing.T) {
	p := newPlace(t)
	for _, tt := range []struct{ name, file, text, want string }{
		{"column", "jobs.csv", "external_id,jobnumber\n1,J\n", `jobs.csv: column "jobnumber" is not in the API reference: correct its name, or say -extra`},
		{"column twice", "jobs.csv", "external_id,job_number,job_number\n1,J,J\n", `jobs.csv: column "job_number" is there twice`},
		{"no key", "jobs.csv", "job_number\nJ\n", "jobs.csv: no column external_id"},
		{"whole number", "jobs.csv", "external_id,job_number,priority\n1,J,1\n2,J,high\n", `jobs.csv:3: priority: "high" is not a whole number`},
		{"number", "operations.csv", "external_id,estimated_time_minutes\n1,\"12,5\"\n", `operations.csv:2: estimated_time_minutes: "12,5" is not a number such as 12.5`},
		{"infinite", "operations.csv", "external_id,estimated_time_minutes\n1,Inf\n", `operations.csv:2: estimated_time_minutes: "Inf" is not a number such as 12.5`},
		{"boolean", "cells.csv", "external_id,name,active\n1,\"a\nb\",true\n2,B,perhaps\n", `cells.csv:4: active: "perhaps" is not true or false`},
		{"date", "jobs.csv", "external_id,job_number,due_date\n1,J,31.12.2026\n", `jobs.csv:2: due_date: "31.12.2026" is not a date: want YYYY-MM-DD and a day that exists`},
		{"null", "jobs.csv", "external_id,job_number\n1,\\N\n", "jobs.csv:2: job_number: null: want a string"},
		{"not UTF-8", "jobs.csv", "external_id,job_number,customer\n1,J,M\xfcller\n", "jobs.csv:2: customer: not UTF-8: export it as UTF-8"},
		{"cells", "jobs.csv", "external_id,job_number\n1,J\n2\n", "jobs.csv:3: wrong number of fields"},
		{"quotes", "jobs.csv", "external_id,job_number\n1,J\"\n", `jobs.csv:2: bare " in non-quoted-field`},
		{"empty", "jobs.csv", "", "jobs.csv: is empty"},
		{"name", "job.csv", "external_id\n", "job.csv: want cells.csv, resources.csv, jobs.csv, parts.csv and operations.csv only"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(dir+"/"+tt.file, []byte(tt.text), 0o600))
			got := p.night(t.Context(), "-csv", dir)
			assert.Equal(t, exitUsage, got.status)
			assert.Contains(t, got.stderr, "nightly: nothing was sent: "+tt.want)
		})
	}
	assert.Empty(t, p.srv.Requests())
}

func TestTexts(t *testing.T) {
	p := newPlace(t)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/jobs.csv", []byte("\ufeffexternal_id,job_number,notes,customer,project\n007,J-1,\\N,,0815\n"), 0o600))
	got := p.night(t.Context(), "-csv", dir, "-extra")
	assert.Equal(t, exitDone, got.status, got.stderr)
	requests := p.srv.Requests()
	assert.JSONEq(t, `{"jobs":[{"external_id":"007","external_source":"ERP","job_number":"J-1","notes":null,"project":"0815"}]}`, string(requests[len(requests)-1].Body))
}

// TestBrokenQueries: what a database can't answer stops the run too.
func TestBrokenQueries(t *testing.T) {
	p := newPlace(t)
	require.NoError(t, makeDatabase(t.Context(), p.path("erp.db")))
	for want, query := range map[string]string{
		"jobs.sql: SQL logic error: no such table: orders":               "SELECT no AS external_id FROM orders",
		`jobs.sql, row 1: priority: "Acme`:                               "SELECT no AS external_id, customer AS priority FROM sales_orders WHERE no = 'SO-1003'",
		`jobs.sql: column "job_no" is not in the API reference: correct`: "SELECT no AS external_id, job_no FROM sales_orders",
	} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(dir+"/jobs.sql", []byte(query), 0o600))
		got := p.run(t.Context(), "-source", "ERP", "-sql", p.path("erp.db"), "-queries", dir, "-state", p.path("state"))
		assert.Equal(t, exitUsage, got.status)
		assert.Contains(t, got.stderr, "nightly: nothing was sent: "+want)
	}
	got := p.run(t.Context(), "-sql", p.path("erp.db"), "-queries", t.TempDir(), "-state", p.path("state"))
	assert.Equal(t, exitUsage, got.status)
	assert.Contains(t, got.stderr, "the folder of queries has none")
	assert.Empty(t, p.srv.Requests())
}

// TestFailedRecord: a record that breaks a rule fails alone.
func TestFailedRecord(t *testing.T) {
	p := newPlace(t)
	p.edit(t, "sample/parts.csv", "HINGE-7,Steel 316,60", "HINGE-7,Steel 316,0")
	failed, report := p.path("failed.jsonl"), p.path("report.json")
	got := p.night(t.Context(), "-failed", failed, "-report", report)
	assert.Equal(t, exitFailed, got.status)
	assert.Contains(t, got.stderr, "quantity is 0: want at least 1")
	assert.Contains(t, got.stderr, "nightly: 3 of 40 records failed: correct them in the ERP, and the next run sends them\n")
	data, err := eryxon.ReadFailedRecords(strings.NewReader(p.text(t, "failed.jsonl")))
	require.NoError(t, err)
	assert.Equal(t, eryxon.RecordCounts{Parts: 1, Operations: 2}, data.Count())
	var told struct {
		Parts eryxon.EntityReport
		Ended string
	}
	require.NoError(t, json.Unmarshal([]byte(p.text(t, "report.json")), &told))
	assert.Equal(t, eryxon.Counts{Created: 7, Failed: 1}, told.Parts.Counts)
	assert.Empty(t, told.Ended)

	p.edit(t, "sample/parts.csv", "HINGE-7,Steel 316,0", "HINGE-7,Steel 316,60")
	got = p.night(t.Context(), "-failed", failed)
	assert.Equal(t, exitDone, got.status, got.stderr)
	assert.Equal(t, 3, got.requests, "what the server does with jobs of before, the part, and its operations")
	assert.NoFileExists(t, failed)
	assert.Equal(t, exitDone, p.night(t.Context(), "-failed", failed).status, "nothing to remove is fine")
	files, err := os.ReadDir(p.dir)
	require.NoError(t, err)
	for _, f := range files {
		assert.Contains(t, []string{"queries", "sample", "state", "report.json"}, f.Name())
	}
}

func TestDryRun(t *testing.T) {
	p := newPlace(t)
	assert.Equal(t, exitDone, p.night(t.Context()).status)
	p.edit(t, "sample/jobs.csv", "Acme Corp,2026-12-18,5", "Acme Corp,2026-12-17,4")
	p.edit(t, "sample/jobs.csv", "SO-1004,", "SO-1006,JOB-1006,Acme Corp,2027-02-01,5,\nSO-1004,")
	p.edit(t, "sample/parts.csv", "TRAY-40,Steel 304,200", "TRAY-40,Steel 304,-1")
	p.edit(t, "sample/resources.csv", "M-03,CNC Mill,equipment,5 axes,MILL-01,Hall 2,available\n", "")
	got := p.night(t.Context(), "-dry-run", "-complete", "-deactivate", "-failed", p.path("failed.jsonl"))
	assert.Equal(t, exitFailed, got.status)
	assert.Zero(t, got.requests)
	assert.NoFileExists(t, p.path("failed.jsonl"))
	golden(t, "dryrun.txt", got.stdout)
}

func TestDisappeared(t *testing.T) {
	for _, release := range releases {
		t.Run(string(release), func(t *testing.T) { disappeared(t, newPlace(t, eryxontest.WithRelease(release))) })
	}
}

func disappeared(t *testing.T, p *place) {
	p.edit(t, "sample/operations.csv", "SO-1001-10-30,SO-1001-10,Weld frame,Welding,30,90,Fixture A\n", "")
	p.edit(t, "sample/operations.csv", "SO-1004-20-20,SO-1004-20,Weld nuts,Welding,20,35,\n", "")
	assert.Equal(t, exitDone, p.night(t.Context(), "-complete").status)
	p.edit(t, "sample/cells.csv", "WC-WELD,Welding,#ef4444,4,true\n", "")
	p.edit(t, "sample/operations.csv", "SO-1005-10-20,SO-1005-10,Bend tray,Bending,20,160,\n", "")

	got := p.night(t.Context(), "-complete")
	assert.Equal(t, exitDone, got.status, got.stderr)
	assert.Zero(t, got.requests)
	assert.Contains(t, got.stdout, "disappeared: operations ERP/SO-1005-10-20\ndisappeared: cells ERP/WC-WELD\n")

	got = p.night(t.Context(), "-complete", "-deactivate")
	assert.Equal(t, exitFailed, got.status, "one of five is more than a tenth")
	assert.Contains(t, got.stderr, "1 of 5 cells have disappeared")
	assert.Zero(t, got.requests)

	got = p.night(t.Context(), "-complete", "-deactivate", "-max-share", "0.2", "-report", p.path("report.json"))
	assert.Equal(t, exitDone, got.status, got.stderr)
	row, _ := p.srv.Row(eryxontest.Cells, "ERP", "WC-WELD")
	assert.Equal(t, false, row["active"])
	assert.Contains(t, p.text(t, "report.json"), `"deactivated": {`)
	_, there := p.srv.Row(eryxontest.Operations, "ERP", "SO-1005-10-20")
	assert.True(t, there, "left alone")
	assert.Zero(t, p.night(t.Context(), "-complete", "-deactivate").requests, "it has been done")
}

func TestSendAgain(t *testing.T) {
	p := newPlace(t)
	assert.Equal(t, exitDone, p.night(t.Context()).status)
	assert.Zero(t, p.night(t.Context(), "-max-age", "1h").requests, "acknowledged just now")
	got := p.night(t.Context(), "-full")
	assert.Equal(t, exitDone, got.status, got.stderr)
	assert.Regexp(t, ` total +40 +0 +40 `, got.stdout)
}

func TestAnotherRun(t *testing.T) {
	p := newPlace(t)
	other, err := syncstate.Open(p.path("state"))
	require.NoError(t, err)
	got := p.night(t.Context())
	require.NoError(t, other.Close())
	assert.Equal(t, exitBusy, got.status)
	assert.Contains(t, got.stderr, "wait until it has ended")
	assert.Zero(t, got.requests)
	assert.Equal(t, exitDone, p.night(t.Context()).status)
}

func TestEndedEarly(t *testing.T) {
	t.Run("quota", func(t *testing.T) {
		p := newPlace(t)
		got := p.night(t.Context(), "-quota", "4", "-reserve", "2", "-failed", p.path("failed.jsonl"), "-report", p.path("report.json"))
		assert.Equal(t, exitEarly, got.status)
		assert.Equal(t, 2, got.requests)
		assert.Contains(t, got.stderr, "nightly: the run ended early, the next one goes on: ")
		assert.Equal(t, 1, strings.Count(got.stderr, "\n"), got.stderr)
		assert.Contains(t, p.text(t, "report.json"), `"ended": "`)
		got = p.night(t.Context(), "-quota", "4", "-reserve", "2")
		assert.Equal(t, exitEarly, got.status)
		assert.Zero(t, got.requests, "the state knows what the day has cost")
		got = p.night(t.Context(), "-failed", p.path("failed.jsonl"))
		assert.Equal(t, exitDone, got.status, got.stderr)
		assert.NoFileExists(t, p.path("failed.jsonl"))
	})
	t.Run("budget", func(t *testing.T) {
		p := newPlace(t)
		nights := 0
		for got := (result{status: exitEarly}); got.status == exitEarly && nights < 9; nights++ {
			got = p.night(t.Context(), "-budget", "3")
			assert.Equal(t, 3, got.requests)
		}
		// Cells, resources and jobs go side by side in the first. The second asks
		// what the server does with parts of jobs of before, and sends the rest.
		assert.Equal(t, 2, nights)
		assert.Len(t, p.srv.Rows(eryxontest.Operations), 18)
	})
	t.Run("key", func(t *testing.T) {
		p := newPlace(t)
		p.srv.RevokeKey()
		got := p.night(t.Context())
		assert.Equal(t, exitEarly, got.status)
		assert.Contains(t, got.stderr, "check the API key")
		assert.NotContains(t, got.stderr+got.stdout, p.srv.Key)
	})
	t.Run("network", func(t *testing.T) {
		p := newPlace(t)
		p.srv.Chaos(1, 1, eryxontest.NotJSON()) // a login page, for one
		got := p.night(t.Context())
		assert.Equal(t, exitEarly, got.status)
		assert.Contains(t, got.stderr, "no proxy or login page")
		assert.Contains(t, got.stderr, "were not sent, or nothing is known of them: the next run sends them\n")
	})
	t.Run("before it began", func(t *testing.T) {
		p := newPlace(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		got := p.night(ctx)
		assert.Equal(t, exitEarly, got.status)
		assert.Zero(t, got.requests)
	})
}

// TestSignal ends a run while its first request is on the way: that one is
// waited for, what it brought is remembered, and the next run goes on.
func TestSignal(t *testing.T) {
	p := newPlace(t)
	ctx, cancel := context.WithCancel(t.Context())
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cancel()
		p.srv.ServeHTTP(w, r)
	}))
	defer front.Close()
	t.Setenv(eryxon.EnvBaseURL, front.URL+"/functions/v1")
	got := p.night(ctx)
	assert.Equal(t, exitEarly, got.status)
	assert.Contains(t, got.stderr, "context canceled")
	sent := 0
	for _, r := range p.srv.Requests() {
		sent += r.Records
	}
	assert.NotZero(t, sent)
	assert.Less(t, sent, 40)
	got = p.night(t.Context())
	assert.Equal(t, exitDone, got.status, got.stderr)
	all := 0
	for _, r := range p.srv.Requests() {
		all += r.Records
	}
	assert.Equal(t, 40, all, "no record was sent twice")
}

func TestDoctor(t *testing.T) {
	p := newPlace(t)
	got := p.run(t.Context(), "-doctor", "-state", p.path("state"))
	assert.Equal(t, exitDone, got.status, got.stderr)
	assert.Contains(t, got.stdout, "sync state")
	p.srv.RevokeKey()
	got = p.run(t.Context(), "-doctor", "-state", p.path("state"))
	assert.Equal(t, exitSick, got.status, got.stderr)
	assert.Contains(t, got.stdout, "check the API key")
}

func TestCheckFirst(t *testing.T) {
	p := newPlace(t)
	assert.Equal(t, exitDone, p.night(t.Context()).status)
	p.srv.Reset() // to an old backup, for one
	assert.Zero(t, p.night(t.Context()).requests, "the state does not know")
	got := p.night(t.Context(), "-check")
	assert.Equal(t, exitDone, got.status, got.stderr)
	assert.Contains(t, got.stdout, "cell ERP/WC-WELD: gone\n")
	assert.Len(t, p.srv.Rows(eryxontest.Jobs), 5)
	assert.Len(t, p.srv.Rows(eryxontest.Operations), 18)

	p.srv.RevokeKey()
	got = p.night(t.Context(), "-check")
	assert.Equal(t, exitEarly, got.status)
	assert.Contains(t, got.stderr, "nightly: nothing was sent: ")
}

func TestState(t *testing.T) {
	p := newPlace(t)
	require.NoError(t, os.WriteFile(p.path("state"), []byte("not a state, but some other file"), 0o600))
	got := p.night(t.Context())
	assert.Equal(t, exitUsage, got.status)
	assert.Contains(t, got.stderr, "move it away")
	require.NoError(t, os.Remove(p.path("state")))
	assert.Equal(t, exitDone, p.night(t.Context()).status)

	other := eryxontest.NewServer(t)
	t.Setenv(eryxon.EnvBaseURL, other.URL)
	got = p.night(t.Context())
	assert.Equal(t, exitUsage, got.status)
	assert.Contains(t, got.stderr, "use a state of its own for each installation")
	assert.Empty(t, other.Requests())
}

func TestUsage(t *testing.T) {
	p := newPlace(t)
	for want, args := range map[string][]string{
		"want one of -csv and -sql":                 {},
		`"sample": want flags only`:                 {"sample"},
		"-demo goes alone":                          {"-demo", "-full"},
		"-deactivate needs -complete":               {"-csv", "x", "-deactivate"},
		"-complete needs -source":                   {"-csv", "x", "-complete"},
		"flag provided but not defined: -key":       {"-key", "x"},
		"open x: no such file or directory":         {"-csv", "x"},
		`sql: unknown driver "oracle"`:              {"-sql", "x", "-driver", "oracle"},
		"WithDailyQuota: -1":                        {"-csv", "x", "-quota", "-1"},
		"WithMaxAge: -1h0m0s":                       {"-csv", "x", "-max-age", "-1h"},
		"no such file or directory":                 {"-csv", "x", "-state", p.path("nowhere/state")},
		"-max-share 2: want more than 0, at most 1": {"-csv", p.path("sample"), "-complete", "-deactivate", "-max-share", "2", "-source", "ERP"},
	} {
		got := p.run(t.Context(), append([]string{"-state", p.path("state")}, args...)...)
		assert.Equal(t, exitUsage, got.status, args)
		assert.Contains(t, got.stderr, want)
		assert.Zero(t, got.requests)
	}
	got := p.run(t.Context(), "-h")
	assert.Equal(t, exitDone, got.status)
	assert.Contains(t, got.stderr, "Exit status: 0 all is well")

	t.Setenv(eryxon.EnvAPIKey, "")
	got = p.night(t.Context())
	assert.Equal(t, exitUsage, got.status)
	assert.Contains(t, got.stderr, eryxon.EnvAPIKey)
}
