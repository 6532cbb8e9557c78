// Command nightly brings what changed in an ERP since the last run into Eryxon
// MES. It is made for cron, and to be copied.
//
//	go run . -demo
//	go run . -source SAP -csv export/
//	go run . -source SAP -driver sqlite -sql erp.db
//
// The README tells the rest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/syncstate"
)

// Exit statuses.
const (
	exitDone   = 0 // the server holds all that the export has
	exitFailed = 1 // some records failed: somebody has to look
	exitUsage  = 2 // nothing was done: bad usage, configuration or input
	exitBusy   = 3 // another run has the state
	exitEarly  = 4 // the run ended early: the next one goes on
	exitSick   = 5 // the doctor found a problem
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is the program.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	set, err := parseFlags(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitDone
	case err != nil:
		return exitUsage
	}
	n := &night{set, stdout, stderr}
	if set.demo {
		return n.demonstrate(ctx)
	}
	return n.withClient(ctx, eryxon.NewFromEnv)
}

// withClient runs with the state and a client that connect makes.
func (n *night) withClient(ctx context.Context, connect func(...eryxon.Option) (*eryxon.Client, error)) int {
	state, err := syncstate.Open(n.state)
	if err != nil {
		return n.fail(statusOf(err), err)
	}
	client, err := connect(n.options(state)...)
	if err != nil {
		return n.fail(exitUsage, errors.Join(err, state.Close()))
	}
	defer client.CloseIdleConnections()
	status := n.run(ctx, client)
	if err := state.Close(); err != nil {
		return n.fail(max(status, exitFailed), err)
	}
	return status
}

func (n *night) fail(status int, err error) int {
	fmt.Fprintln(n.stderr, "nightly:", err)
	return status
}

// statusOf is that of a run that did not begin.
func statusOf(err error) int {
	var call *eryxon.APIError
	switch {
	case errors.Is(err, eryxon.ErrStateInUse):
		return exitBusy
	case errors.Is(err, eryxon.ErrTooManyDisappeared):
		return exitFailed
	case errors.Is(err, eryxon.ErrRateLimited), errors.As(err, &call), errors.Is(err, context.Canceled):
		return exitEarly
	}
	return exitUsage
}
