package eryxontest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// exchange is one line of testdata: a call and what a server of that release
// answers to it. The calls of a file belong together, in order.
type exchange struct {
	Name      string          `json:"name"`
	Method    string          `json:"method"`
	Path      string          `json:"path"`
	Request   json.RawMessage `json:"request"`
	Status    int             `json:"status"`
	Response  any             `json:"response"`
	RowsAdded map[string]int  `json:"rows_added"`
}

// TestReplay holds each release against exchanges in the shapes that were
// recorded of it.
func TestReplay(t *testing.T) {
	for _, release := range []Release{V01, V08, V08AsMigrated} {
		t.Run(string(release), func(t *testing.T) {
			srv := seeded(release)
			n := 0
			for _, x := range readExchanges(t, filepath.Join("testdata", string(release)+".jsonl")) {
				n++
				t.Run(x.Name, func(t *testing.T) { replay(t, srv, x) })
			}
			assert.NotZero(t, n)
		})
	}
}

// seeded is a server with the rows that the exchanges take for granted.
func seeded(release Release) *Server {
	srv := New(WithRelease(release))
	srv.Seed(Jobs, Row{"id": "10000000-0000-4000-8000-0000000000a1", "job_number": "SEEDJOB", "external_id": "SEED-JOB", "external_source": "SAP"})
	srv.Seed(Parts, Row{
		"id": "10000000-0000-4000-8000-0000000000b1", "part_number": "SEEDPART", "material": "Steel",
		"job_id": "10000000-0000-4000-8000-0000000000a1", "external_id": "SEED-PART", "external_source": "SAP",
	})
	srv.Seed(Cells, Row{"id": "10000000-0000-4000-8000-0000000000c1", "name": "SeedCell", "sequence": 1})
	return srv
}

func readExchanges(t *testing.T, path string) (out []exchange) {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var x exchange
		require.NoError(t, json.Unmarshal(lines.Bytes(), &x), lines.Text())
		out = append(out, x)
	}
	require.NoError(t, lines.Err())
	return out
}

func replay(t *testing.T, srv *Server, x exchange) {
	key := srv.Key
	switch {
	case strings.HasSuffix(x.Name, "no_key"):
		key = ""
	case strings.HasSuffix(x.Name, "wrong_key"):
		key = "ery_live_wrong"
	case strings.HasPrefix(x.Name, "ratelimit."):
		srv = New(WithRelease(srv.cfg.release), WithQuota(100, 24*time.Hour))
		srv.quota = quotaState{start: time.Now(), used: 99}
		if x.Status == http.StatusTooManyRequests {
			srv.quota.used = 100
		}
	}
	body := []byte(x.Request)
	var literal string
	if json.Unmarshal(body, &literal) == nil {
		body = []byte(literal) // a string is the body's text
	}
	if bytes.Equal(body, []byte("null")) {
		body = nil
	}
	before := srv.counts()
	req, err := http.NewRequest(x.Method, srv.URL+x.Path, bytes.NewReader(body))
	require.NoError(t, err)
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := srv.Client().Do(req)
	require.NoError(t, err)
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	var got any
	require.NoError(t, json.Unmarshal(text, &got), string(text))

	assert.Equal(t, x.Status, res.StatusCode)
	want := plain(x.Response)
	if x.Method == http.MethodGet && x.Status == http.StatusOK {
		assert.Equal(t, shape(want), shape(plain(got)))
	} else {
		assert.Equal(t, want, plain(got))
	}
	added := map[string]int{}
	for table, n := range srv.counts() {
		if n != before[table] {
			added[table] = n - before[table]
		}
	}
	assert.Equal(t, x.RowsAdded, added, "rows that landed")
}

func (s *Server) counts() map[string]int {
	n := map[string]int{"sync_imports": len(s.imports)}
	for i, e := range allEntities {
		n[string(e)] = len(s.tables[i].rows)
	}
	return n
}

var (
	uuidText = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	timeText = regexp.MustCompile(`^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(\+00:00|Z)$`)
)

// plain replaces what differs from run to run.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, x := range v {
			switch name {
			case "duration_ms", "retryAfter":
				x = "<number>"
			case "search_vector":
				x = nil
			case "started_at", "completed_at", "created_at", "updated_at", "synced_at":
				if x != nil {
					x = "<time>"
				}
			}
			out[name] = plain(x)
		}
		return out
	case []any:
		var out []any
		for _, x := range v {
			out = append(out, plain(x))
		}
		return out
	case string:
		if uuidText.MatchString(v) && !strings.HasPrefix(v, "10000000-") && !strings.HasPrefix(v, "00000001-") {
			return "<uuid>"
		}
		if timeText.MatchString(v) {
			return "<time>"
		}
	}
	return v
}

// shape is the names in a value, lists by their first element.
func shape(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, x := range v {
			out[name] = shape(x)
		}
		return out
	case []any:
		if len(v) == 0 {
			return "list"
		}
		if _, ok := v[0].(map[string]any); ok {
			return []any{shape(v[0])}
		}
		return "list"
	}
	return "value"
}
