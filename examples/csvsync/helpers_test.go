package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
)

// folder makes a folder of files by their names.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

// result is what a run of the program left.
type result struct {
	status         int
	stdout, stderr string
}

// csvsync runs the program against a server, or its built-in one where that
// is nil.
func csvsync(t *testing.T, srv *eryxontest.Server, args ...string) result {
	t.Helper()
	return csvsyncIn(t.Context(), srv, args...)
}

func csvsyncIn(ctx context.Context, srv *eryxontest.Server, args ...string) result {
	env := map[string]string{}
	if srv != nil {
		env = map[string]string{eryxon.EnvBaseURL: srv.URL, eryxon.EnvAPIKey: srv.Key}
	}
	var stdout, stderr bytes.Buffer
	status := run(ctx, args, func(name string) string { return env[name] }, &stdout, &stderr)
	return result{status, stdout.String(), stderr.String()}
}

// records makes records of a file's text.
func records[R any](t *testing.T, sc *schema[R], text string) *input[R] {
	t.Helper()
	s, err := readSheet(fileName(sc.entity), []byte(text))
	require.NoError(t, err)
	in, err := readRecords(s, sc, "ERP")
	require.NoError(t, err)
	require.Len(t, in.lines, len(in.records))
	return in
}

// complaintsOf are the lines that are told of the rejects.
func complaintsOf(rejects []*reject) []string {
	var b strings.Builder
	(&load{rejects: rejects}).tellRejects(&b)
	if b.Len() == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// everyField checks the schema against the fields of the record.
func everyField[R any](t *testing.T, sc *schema[R]) {
	t.Helper()
	var want, got []string
	for field := range reflect.TypeFor[R]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name != "" && name != "-" && name != sc.nested {
			want = append(want, name)
		}
	}
	for _, c := range sc.columns {
		got = append(got, c.name)
	}
	require.ElementsMatch(t, want, got, fileName(sc.entity))
}
