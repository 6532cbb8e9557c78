package syncstate_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// childPath names the environment variable by which a test runs its own binary
// as another process, which works on the file that it names.
const childPath = "SYNCSTATE_CHILD_PATH"

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		if err := putForEver(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(millionFolder)
		os.Exit(code)
	}))
}
