package syncstate_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/syncstate"
)

// A put of the child has entries of its own and entries that every put
// replaces; the header numbers it.
const ownEntries, sharedEntries = 20, 80

func ownKey(put, i int) eryxon.Key {
	return eryxon.Key{Source: "SAP", ExternalID: fmt.Sprintf("own %d %06d", i, put)}
}

func sharedKey(i int) eryxon.Key {
	return eryxon.Key{Source: "SAP", ExternalID: fmt.Sprintf("shared %d", i)}
}

// putForEver is the child: it goes on from what the file holds, and says of
// each put that it has returned.
func putForEver(path string) error {
	f, err := syncstate.Open(path)
	if err != nil {
		return err
	}
	header, err := f.Header()
	if err != nil {
		return err
	}
	last, _ := strconv.Atoi(string(header))
	for put := last + 1; ; put++ {
		mark := []byte(strconv.Itoa(put))
		var list []eryxon.StateEntry
		for i := range ownEntries {
			list = append(list, eryxon.StateEntry{Entity: eryxon.EntityJobs, Key: ownKey(put, i), Detail: mark})
		}
		for i := range sharedEntries {
			list = append(list, eryxon.StateEntry{Entity: eryxon.EntityJobs, Key: sharedKey(i), Detail: mark})
		}
		if err := f.Put(mark, list); err != nil {
			return err
		}
		fmt.Println(put)
	}
}

// TestKilledWhilePutting kills a process that puts at random moments, 10 times
// or as often as SYNCSTATE_KILLS says: what it was told to be kept is there,
// and the put that was under way is there whole or not at all.
func TestKilledWhilePutting(t *testing.T) {
	kills := 10
	if n, err := strconv.Atoi(os.Getenv("SYNCSTATE_KILLS")); err == nil {
		kills = n
	}
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	path := filepath.Join(t.TempDir(), "state")
	acknowledged, landed := 0, 0
	for range kills {
		acknowledged = max(acknowledged, killed(t, path, r))
		f, err := syncstate.Open(path)
		require.NoError(t, err)
		header, err := f.Header()
		require.NoError(t, err)
		last := 0
		if header != nil {
			last, err = strconv.Atoi(string(header))
			require.NoError(t, err)
		}
		require.GreaterOrEqual(t, last, acknowledged)
		if last > acknowledged {
			landed++
		}
		require.Len(t, all(t, f, eryxon.EntityJobs), wholePuts(t, f, last))
		acknowledged = last
		require.NoError(t, f.Close())
	}
	t.Logf("%d puts, %d of those under way had landed", acknowledged, landed)
}

// killed runs the child, kills it and returns the last put that it told.
func killed(t *testing.T, path string, r *rand.Rand) (told int) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	child := exec.Command(self)
	child.Env = append(os.Environ(), childPath+"="+path)
	var stderr strings.Builder
	child.Stderr = &stderr
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	lines := bufio.NewScanner(out)
	for n := r.IntN(30); n >= 0 && lines.Scan(); n-- {
		told, err = strconv.Atoi(lines.Text())
		require.NoError(t, err)
	}
	if r.IntN(3) > 0 { // into the next put, by spinning: timers are too coarse
		for start, d := time.Now(), time.Duration(r.Int64N(int64(4*time.Millisecond))); time.Since(start) < d; {
			continue
		}
	}
	require.NoError(t, child.Process.Kill())
	for lines.Scan() {
		if n, err := strconv.Atoi(lines.Text()); err == nil {
			told = n
		}
	}
	var exit *exec.ExitError
	require.ErrorAs(t, child.Wait(), &exit)
	require.Empty(t, stderr.String())
	return told
}

// wholePuts counts the entries of all puts up to last, each of which must be
// there.
func wholePuts(t *testing.T, f *syncstate.File, last int) (entries int) {
	t.Helper()
	for put := 1; put <= last; put++ {
		for i := range ownEntries {
			e, found := get(t, f, eryxon.EntityJobs, ownKey(put, i))
			require.Truef(t, found, "put %d of %d", put, last)
			assert.Equal(t, strconv.Itoa(put), string(e.Detail))
		}
		entries += ownEntries
	}
	for i := range sharedEntries {
		e, found := get(t, f, eryxon.EntityJobs, sharedKey(i))
		require.Equal(t, last > 0, found)
		if found {
			entries++
			require.Equal(t, strconv.Itoa(last), string(e.Detail), "a put is whole or not there at all")
		}
	}
	return entries
}
