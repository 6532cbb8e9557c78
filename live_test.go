//go:build live

package eryxon_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
)

// TestBehaviourOfALiveServer runs against the installation that
// ERYXON_BASE_URL and ERYXON_API_KEY name: one for tests, for nothing can be
// deleted there.
func TestBehaviourOfALiveServer(t *testing.T) {
	client, err := eryxon.NewFromEnv()
	require.NoError(t, err)
	source := "eryxon-go-test-" + time.Now().UTC().Format("20060102-150405")
	left := behaviour(t, client, source)
	t.Logf("the server is %q; %d records of the external source %s were left on it: delete them in the MES", client.Release(), left, source)
}
