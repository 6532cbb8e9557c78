// Command eryxon-mock runs an in-memory Eryxon server to try an integration
// against. It forgets everything when it ends.
//
//	eryxon-mock [-addr 127.0.0.1:8787] [-key ery_live_…] [-release documented|v0.1|v0.8|v0.8-as-migrated|v0.11] [-quota requests per day]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/eryxon/eryxon-go/eryxontest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "eryxon-mock:", err)
		stop()
		os.Exit(1)
	}
}

var releases = []eryxontest.Release{
	eryxontest.Documented, eryxontest.V01, eryxontest.V08, eryxontest.V08AsMigrated, eryxontest.V011,
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, out, usage io.Writer) error {
	flags := flag.NewFlagSet("eryxon-mock", flag.ContinueOnError)
	flags.SetOutput(usage)
	addr := flags.String("addr", "127.0.0.1:8787", "listen on this `address`")
	key := flags.String("key", "", "accept this API `key` (default: a fixed test key)")
	release := flags.String("release", string(eryxontest.Documented), fmt.Sprintf("behave as this release, one of %v", releases))
	quota := flags.Int("quota", 0, "allow this many `requests` a day (0: no limit)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case !slices.Contains(releases, eryxontest.Release(*release)):
		return fmt.Errorf("unknown release %q, want one of %v", *release, releases)
	case *quota < 0:
		return fmt.Errorf("the quota must not be negative, is %d", *quota)
	}
	srv := eryxontest.New(
		eryxontest.WithKey(*key),
		eryxontest.WithRelease(eryxontest.Release(*release)),
		eryxontest.WithQuota(*quota, 24*time.Hour),
		eryxontest.WithRequestLog(0),
	)
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *addr)
	if err != nil {
		return err
	}
	url := "http://" + l.Addr().String() + "/functions/v1"
	fmt.Fprintf(out, `Eryxon mock server, release %s

  URL  %s
  Key  %s

  curl -X PUT %s/api-jobs/sync -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' -d '{"external_id":"SO-12345","external_source":"SAP","job_number":"JOB-2024-001"}'

Rows live in memory only. Ctrl+C ends it.
`, *release, url, srv.Key, url, srv.Key)
	return serve(ctx, l, srv)
}

// serve serves until ctx ends, then lets requests finish for a moment.
func serve(ctx context.Context, l net.Listener, srv *eryxontest.Server) error {
	server := &http.Server{Handler: srv, ReadHeaderTimeout: time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := server.Shutdown(grace)
	srv.Close()
	<-failed
	return err
}
