package eryxon_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
	"github.com/eryxon/eryxon-go/syncstate"
)

// envCrash has the test binary be the process that is to be killed.
const envCrash = "ERYXON_TEST_CRASH"

func TestMain(m *testing.M) {
	if version := os.Getenv(envCrash); version != "" {
		if err := nightRun(version); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// nightRun syncs a version of the export and prints each success.
func nightRun(version string) error {
	n, err := strconv.Atoi(version)
	if err != nil {
		return err
	}
	state, err := syncstate.Open(os.Getenv(envCrash + "_STATE"))
	if err != nil {
		return err
	}
	client, err := eryxon.NewFromEnv(eryxon.WithSource("SAP"))
	if err != nil {
		return err
	}
	_, err = client.SyncAll(context.Background(), export(n), eryxon.WithState(state), eryxon.WithAuditLog(os.Stdout), eryxon.WithMaxRequestRecords(50))
	return err
}

const exported = 600 // jobs, each with a part

// export is a version of what the ERP has: every version changes a third of it.
func export(version int) eryxon.Dataset {
	jobs, parts := make([]eryxon.Job, exported), make([]eryxon.Part, exported)
	for i := range jobs {
		id := fmt.Sprintf("%04d", i)
		jobs[i] = eryxon.Job{ExternalID: "J" + id, JobNumber: "N" + id, Notes: eryxon.Some(content("J"+id, version)), Status: eryxon.Some(eryxon.WorkNotStarted)}
		parts[i] = eryxon.Part{ExternalID: "P" + id, PartNumber: "B", JobExternalID: "J" + id, Notes: eryxon.Some(content("P"+id, version)),
			Material: eryxon.Some("Steel"), Quantity: eryxon.Some(1)}
	}
	return eryxon.Dataset{Jobs: eryxon.FromSlice(jobs), Parts: eryxon.FromSlice(parts)}
}

// content is a record's text in a version: the newest in which it changed.
func content(id string, version int) string {
	for v := version; v > 0; v-- {
		h := fnv.New32a()
		_, _ = fmt.Fprint(h, id, v)
		if h.Sum32()%3 == 0 {
			return fmt.Sprint("version ", v)
		}
	}
	return "version 0"
}

// A process that is killed at any point loses nothing that it has reported, and
// reports nothing that is not so: the next run with the same input brings the
// rest.
func TestKilledProcessesGoOn(t *testing.T) {
	srv := eryxontest.New()
	defer srv.Close()
	killAt := new(atomic.Int64)
	kill := make(chan struct{}, 1)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := killAt.Add(-1)
		if n == 0 {
			kill <- struct{}{} // while the request is under way
		}
		srv.ServeHTTP(w, r)
		if n == 1 {
			kill <- struct{}{} // while the answer is
		}
	}))
	defer front.Close()
	base := strings.TrimSuffix(srv.URL, "/")
	base = front.URL + base[strings.Index(base, "/functions"):]
	path := filepath.Join(t.TempDir(), "state")
	random := rand.New(rand.NewPCG(3, 5))
	processes, deaths := runs(t, 8), 0
	for version := range processes {
		select {
		case <-kill:
		default:
		}
		lines := 1 << 30
		killAt.Store(int64(1 + random.IntN(10)))
		if random.IntN(2) == 0 {
			killAt.Store(-1)
			lines = 1 + random.IntN(500)
		}
		acked, died := killed(t, version, base, srv.Key, path, kill, lines)
		if died {
			deaths++
		}

		state, err := syncstate.Open(path)
		require.NoError(t, err, "the state opens")
		client, err := eryxon.New(base, srv.Key, eryxon.WithSource("SAP"))
		require.NoError(t, err)
		unchanged := map[string]bool{}
		_, err = client.SyncAll(t.Context(), export(version), eryxon.WithState(state), eryxon.WithDryRun(func(o eryxon.Outcome) {
			if o.Status == eryxon.StatusUnchanged {
				unchanged[o.Key.ExternalID] = true
			}
		}))
		require.NoError(t, err)
		for id := range acked {
			assert.Truef(t, unchanged[id], "%s was acknowledged and would be sent again", id)
		}
		for id := range unchanged {
			require.Equal(t, content(id, version), notesOf(srv, id), "taken for acknowledged: %s", id)
		}
		if version%2 == 1 || version == processes-1 { // else the next version meets what the crash has left
			killAt.Store(-1)
			report, err := client.SyncAll(t.Context(), export(version), eryxon.WithState(state), eryxon.WithMaxRequestRecords(50))
			require.NoError(t, err)
			assert.Equal(t, 2*exported, report.Total().Counts.Succeeded())
			for i := range exported {
				for _, id := range []string{fmt.Sprintf("J%04d", i), fmt.Sprintf("P%04d", i)} {
					require.Equal(t, content(id, version), notesOf(srv, id), id)
				}
			}
		}
		client.CloseIdleConnections()
		require.NoError(t, state.Close())
	}
	t.Logf("%d of %d processes were killed before their end", deaths, processes)
	assert.GreaterOrEqual(t, deaths, processes/2)
}

// killed runs a version in a process of its own, kills it and returns what it
// has reported, and whether it died of that.
func killed(t *testing.T, version int, base, key, path string, kill <-chan struct{}, lines int) (acked map[string]bool, died bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), envCrash+"="+strconv.Itoa(version), envCrash+"_STATE="+path, eryxon.EnvBaseURL+"="+base, eryxon.EnvAPIKey+"="+key)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	over := make(chan struct{})
	go func() {
		select {
		case <-kill:
			_ = cmd.Process.Kill()
		case <-over:
		}
	}()
	acked = map[string]bool{}
	for in := bufio.NewReader(out); ; {
		line, err := in.ReadBytes('\n')
		if err != nil { // a line that was cut short was not handed out
			break
		}
		var ack struct {
			ExternalID string `json:"external_id"`
		}
		require.NoError(t, json.Unmarshal(line, &ack))
		if acked[ack.ExternalID] = true; len(acked) == lines {
			_ = cmd.Process.Kill()
		}
	}
	close(over)
	_, _ = io.Copy(io.Discard, out)
	err = cmd.Wait()
	require.Empty(t, complaints.String())
	return acked, err != nil
}

func notesOf(srv *eryxontest.Server, id string) any {
	entity := eryxontest.Jobs
	if id[0] == 'P' {
		entity = eryxontest.Parts
	}
	row, _ := srv.Row(entity, "SAP", id)
	return row["notes"]
}
