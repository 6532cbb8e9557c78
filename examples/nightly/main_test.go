package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// place is a folder with the sample's CSV files in export, and the state and
// the other files of the runs beside it.
type place struct {
	dir string
	srv *eryxontest.Server
}

func newPlace(t *testing.T, opts ...eryxontest.Option) *place {
	t.Helper()
	p := &place{t.TempDir(), eryxontest.NewServer(t, opts...)}
	require.NoError(t, os.CopyFS(p.dir, embedded))
	t.Setenv(eryxon.EnvBaseURL, p.srv.URL)
	t.Setenv(eryxon.EnvAPIKey, p.srv.Key)
	return p
}

func (p *place) path(name string) string { return filepath.Join(p.dir, name) }

// edit replaces text in a file of the sample, which has it once.
func (p *place) edit(t *testing.T, name, before, after string) {
	t.Helper()
	text := p.text(t, name)
	require.Equal(t, 1, strings.Count(text, before), before)
	require.NoError(t, os.WriteFile(p.path(name), []byte(strings.Replace(text, before, after, 1)), 0o600))
}

func (p *place) text(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(p.path(name))
	require.NoError(t, err)
	return string(text)
}

// result is what a run left.
type result struct {
	status         int
	requests       int
	stdout, stderr string
}

// night runs the program with the CSV files.
func (p *place) night(ctx context.Context, args ...string) result {
	return p.run(ctx, append([]string{"-source", "ERP", "-csv", p.path("sample"), "-state", p.path("state")}, args...)...)
}

func (p *place) run(ctx context.Context, args ...string) result {
	before := len(p.srv.Requests())
	var stdout, stderr bytes.Buffer
	status := run(ctx, args, &stdout, &stderr)
	return result{status, len(p.srv.Requests()) - before, stdout.String(), stderr.String()}
}

// golden compares a text with that of a file, but for what differs from run to
// run.
func golden(t *testing.T, name, text string) {
	t.Helper()
	text = regexp.MustCompile(`\b\d+(\.\d+)?m?s\b`).ReplaceAllString(text, "TIME")
	text = regexp.MustCompile(` +`).ReplaceAllString(text, " ")
	file := filepath.Join("testdata", name)
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), text, "run the test with UPDATE=1 if this is better")
}

func TestDemo(t *testing.T) {
	var stdout, stderr bytes.Buffer
	assert.Equal(t, exitDone, run(t.Context(), []string{"-demo"}, &stdout, &stderr))
	assert.Empty(t, stderr.String())
	golden(t, "demo.txt", stdout.String())
}

var releases = []eryxontest.Release{eryxontest.Documented, eryxontest.V01, eryxontest.V08}

// TestReleases runs the sample against the servers that are in the field.
func TestReleases(t *testing.T) {
	for _, release := range releases {
		t.Run(string(release), func(t *testing.T) {
			p := newPlace(t, eryxontest.WithRelease(release))
			got := p.night(t.Context())
			assert.Equal(t, exitDone, got.status, got.stderr+got.stdout)
			for e, n := range map[eryxontest.Entity]int{
				eryxontest.Cells: 5, eryxontest.Resources: 4, eryxontest.Jobs: 5, eryxontest.Parts: 8, eryxontest.Operations: 18,
			} {
				assert.Len(t, p.srv.Rows(e), n, e)
			}
			assert.Nil(t, p.srv.Orphans())

			got = p.night(t.Context())
			assert.Equal(t, exitDone, got.status, got.stderr)
			assert.Zero(t, got.requests, "nothing changed, nothing is sent")

			for _, edit := range []struct {
				file, before, after string
				entity              eryxontest.Entity
				id, column          string
				want                any
			}{
				{"cells", "#f59e0b", "#fbbf24", eryxontest.Cells, "WC-BEND", "color", "#fbbf24"},
				{"resources", "BRAKE-01,Hall 1", "BRAKE-01,Hall 3", eryxontest.Resources, "M-02", "location", "Hall 3"},
				{"jobs", "Acme Corp", "Acme Inc", eryxontest.Jobs, "SO-1003", "customer", "Acme Inc"},
				{"parts", "HINGE-7,Steel 316,60", "HINGE-7,Steel 316,80", eryxontest.Parts, "SO-1002-20", "quantity", 80.0},
				{"operations", "Weld nuts,Welding,20,35", "Weld nuts,Welding,20,40", eryxontest.Operations, "SO-1004-20-20", "estimated_time", 40.0},
			} {
				p.edit(t, "sample/"+edit.file+".csv", edit.before, edit.after)
				got = p.night(t.Context())
				assert.Equal(t, exitDone, got.status, edit.file+": "+got.stderr)
				assert.LessOrEqual(t, got.requests, 4, edit.file)
				row, _ := p.srv.Row(edit.entity, "ERP", edit.id)
				assert.Equal(t, edit.want, row[edit.column], edit.file)
			}
			assert.Zero(t, p.night(t.Context()).requests)
		})
	}
}

// TestDatabase finds in the database what the CSV files have.
func TestDatabase(t *testing.T) {
	p := newPlace(t)
	require.NoError(t, makeDatabase(t.Context(), p.path("erp.db")))
	fromFiles, err := (&settings{csv: p.path("sample")}).read(t.Context())
	require.NoError(t, err)
	fromDatabase, err := (&settings{driver: "sqlite", sql: p.path("erp.db")}).read(t.Context())
	require.NoError(t, err)
	assert.Equal(t, fromFiles, fromDatabase)
	assert.Equal(t, 40, fromFiles.Count().Total())
}
