package eryxon_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
)

func TestTheReportAsATableAndAsJSON(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		srv.FailRecord(eryxontest.Jobs, "SO-0001", "Invalid priority")
		srv.Script("/api-parts/bulk-sync", eryxontest.Status(503))
		cs, rs, js, ps, ops := factory(3, 1, 1)
		ps[2].JobExternalID = "SO-elsewhere"
		started := time.Now()
		report, err := client.SyncAll(t.Context(), sliced(cs, rs, js, ps, ops))
		require.Error(t, err)
		require.NoError(t, report.Ended, "it ran to its end")
		assert.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, report.RunID)
		assert.Equal(t, started, report.Started)
		assert.Equal(t, time.Since(started), report.Duration)

		total := report.Total()
		assert.Equal(t, 11, total.Read)
		assert.Equal(t, eryxon.Counts{Created: 6, Failed: 2, ParentFailed: 3}, total.Counts)
		assert.Equal(t, 5, total.Requests)
		assert.Equal(t, 7, total.Attempts, "the retry of the parts counts, and so does a look at what the server is")
		assert.Len(t, srv.Requests(), total.Attempts)
		bytes := int64(0)
		for _, r := range srv.Requests() {
			bytes += int64(len(r.Body))
		}
		assert.Equal(t, bytes, total.Bytes)
		assert.Equal(t, max(report.Jobs.Time, report.Parts.Time, report.Operations.Time), total.Time)
		require.Len(t, report.Warnings, 1)
		assert.Contains(t, report.Warnings[0], "SO-elsewhere")

		text := report.String()
		lines := strings.Split(strings.Trim(text, "\n"), "\n")
		require.Len(t, lines, 8, "%s", text)
		for i, name := range []string{"cells", "resources", "jobs", "parts", "operations", "total"} {
			assert.Equal(t, name, strings.Fields(lines[i+1])[0])
		}
		assert.Equal(t, []string{"jobs", "3", "2", "0", "0", "0", "1", "0", "0", "0", "0", "1", "2"}, strings.Fields(lines[3])[:13])
		assert.Contains(t, lines[7], "warning: parts name a job that is not in the dataset")
		assert.NotContains(t, text, "nested")
		for _, line := range lines[1:7] {
			assert.Len(t, []rune(line), len([]rune(lines[0])), "columns stand under each other")
		}

		raw, err := json.Marshal(report)
		require.NoError(t, err)
		var back eryxon.Report
		require.NoError(t, json.Unmarshal(raw, &back))
		assert.Equal(t, report.RunID, back.RunID)
		assert.Equal(t, report.Jobs.Counts, back.Jobs.Counts)
		assert.Equal(t, report.Parts.Attempts, back.Parts.Attempts)
		assert.Equal(t, report.Duration, back.Duration)
		assert.Equal(t, report.Warnings, back.Warnings)
	}, eryxontest.WithLatency(time.Second, 0))
}

func TestTheReportTellsWhatEndedTheRun(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		srv.RevokeKey()
		for _, data := range []eryxon.Dataset{{Jobs: eryxon.FromSlice(someJobs(2))}, {Jobs: eryxon.FromSeq(seqOf(someJobs(2)))}} {
			report, err := client.SyncAll(t.Context(), data)
			require.ErrorIs(t, err, eryxon.ErrUnauthorized)
			require.ErrorIs(t, report.Ended, eryxon.ErrUnauthorized)
			assert.Equal(t, 2, report.Jobs.Counts.Total())
		}
	})
}

func TestAnEmptyDatasetIsDoneAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		for _, data := range []eryxon.Dataset{{}, {Jobs: eryxon.FromSeq(seqOf[eryxon.Job](nil))}} {
			report, err := client.SyncAll(t.Context(), data)
			require.NoError(t, err)
			assert.Zero(t, report.Total().Read)
			assert.Empty(t, srv.Requests())
			assert.Empty(t, report.Warnings)
			assert.NotEmpty(t, report.String())
		}
	})
}
