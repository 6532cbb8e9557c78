package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
)

// Exit statuses.
const (
	exitDone    = 0 // all records arrived
	exitPartial = 1 // some did not
	exitNothing = 2 // none did, or nothing could be done
)

// run is the program.
func run(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) int {
	set, err := parseFlags(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitDone
	case err != nil:
		return exitNothing
	}
	fail := func(err error) int {
		fmt.Fprintf(stderr, "csvsync: %v\n", err)
		return exitNothing
	}
	if set.doctor {
		client, _, done, err := connect(env, set.options())
		if err != nil {
			return fail(err)
		}
		defer done()
		diagnosis := client.Doctor(ctx)
		fmt.Fprint(stdout, diagnosis)
		if !diagnosis.Healthy() {
			return exitNothing
		}
		return exitDone
	}
	l, err := set.read()
	if err != nil {
		fmt.Fprintln(stderr, err) // one file and line a line
		fmt.Fprintln(stderr, "csvsync: nothing was sent")
		return exitNothing
	}
	client, where, done, err := connect(env, set.options())
	if err != nil {
		return fail(err)
	}
	defer done()
	for _, note := range l.notes {
		fmt.Fprintf(stderr, "note: %s\n", note)
	}
	l.tellRejects(stderr)
	if set.dryRun {
		status, err := dryRun(client, l, set, stdout, stderr)
		if err != nil {
			return fail(err)
		}
		return status
	}
	fmt.Fprintf(stdout, "Syncing %d records of %s with %s\n\n", l.data.Count().Total(), l.from, where)
	status, err := syncLoad(ctx, client, l, set, stdout, stderr)
	if err != nil {
		return fail(err)
	}
	return status
}

func (s *settings) read() (*load, error) {
	if s.replay != "" {
		return readReplay(s.replay)
	}
	return readFolder(s.dir, s.source)
}

// connect makes a client for the installation that the environment names, or
// for a server of its own. Neither makes a request.
func connect(env func(string) string, opts []eryxon.Option) (client *eryxon.Client, where string, done func(), err error) {
	baseURL, key := env(eryxon.EnvBaseURL), env(eryxon.EnvAPIKey)
	done = func() {}
	switch {
	case baseURL == "" && key == "":
		srv := eryxontest.New()
		if _, err = srv.Start(); err != nil {
			return nil, "", nil, err
		}
		done = srv.Close
		baseURL, key = srv.URL, srv.Key
		where = "the built-in server at " + baseURL
	case baseURL == "" || key == "":
		return nil, "", nil, fmt.Errorf("set both %s and %s, or none of them for the built-in server", eryxon.EnvBaseURL, eryxon.EnvAPIKey)
	default:
		where = baseURL
	}
	if client, err = eryxon.New(baseURL, key, opts...); err != nil {
		done()
		return nil, "", nil, err
	}
	closeServer := done
	return client, where, func() { client.CloseIdleConnections(); closeServer() }, nil
}

// syncLoad syncs and tells what became of it. Its error says that it did not
// come to that.
func syncLoad(ctx context.Context, client *eryxon.Client, l *load, set *settings, stdout, stderr io.Writer) (int, error) {
	var failures []*eryxon.RecordError
	opts := []eryxon.SyncAllOption{
		eryxon.WithProgress(progressOn(stderr)),
		eryxon.WithOutcomes(func(o eryxon.Outcome) error {
			var failure *eryxon.RecordError
			if errors.As(o.Err, &failure) {
				failures = append(failures, failure)
			}
			return nil
		}),
	}
	out, err := openOutputs(set)
	if err != nil {
		return exitNothing, err
	}
	opts = append(opts, out.options()...)
	var trouble []error
	if out.failed != nil {
		if err := l.writeRejects(out.failed); err != nil {
			trouble = append(trouble, fmt.Errorf("records that were not sent: %w", err))
		}
	}
	report, err := client.SyncAll(ctx, l.data, opts...)
	trouble = append(trouble, others(err)...)
	trouble = append(trouble, out.close()...)

	l.tellFailures(stderr, failures)
	for _, err := range trouble {
		fmt.Fprintf(stderr, "csvsync: %v\n", err)
	}
	l.countRejects(report)
	fmt.Fprintln(stdout, report)
	return verdict(stdout, report.Total(), len(trouble) > 0, set.failed), nil
}

// others are the errors of a run but the one that sums up its records, which
// are told one by one.
func others(err error) []error {
	if err == nil {
		return nil
	}
	errs := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		errs = joined.Unwrap()
	}
	var rest []error
	for _, e := range errs {
		if _, summary := e.(*eryxon.PartialError); !summary { //nolint:errorlint // the same
			rest = append(rest, e)
		}
	}
	return rest
}

// verdict sums up the run in a line and as an exit status.
func verdict(w io.Writer, total eryxon.EntityReport, trouble bool, failedFile string) int {
	arrived := total.Counts.Succeeded()
	wanted := total.Read - total.Counts.Superseded // those are the later ones over again
	switch {
	case total.Read == 0:
		fmt.Fprintln(w, "There was nothing to sync.")
	case arrived == wanted:
		fmt.Fprintf(w, "All %d records arrived.\n", wanted)
	default:
		fmt.Fprintf(w, "%d of %d records arrived.\n", arrived, wanted)
		if failedFile != "" {
			fmt.Fprintf(w, "The other %d are in %s: correct them there and sync them again with -replay.\n", wanted-arrived, failedFile)
		}
	}
	switch {
	case arrived == wanted && !trouble:
		return exitDone
	case arrived == 0 && wanted > 0:
		return exitNothing
	default:
		return exitPartial
	}
}

// outputs are the files that a run writes.
type outputs struct{ failed, audit *os.File }

func openOutputs(set *settings) (*outputs, error) {
	var out outputs
	var err error
	if set.failed != "" {
		if out.failed, err = os.OpenFile(set.failed, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600); err != nil {
			return nil, err
		}
	}
	if set.audit != "" {
		if out.audit, err = os.OpenFile(set.audit, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
			return nil, errors.Join(append([]error{err}, out.close()...)...)
		}
	}
	return &out, nil
}

func (o *outputs) options() []eryxon.SyncAllOption {
	var opts []eryxon.SyncAllOption
	if o.failed != nil {
		opts = append(opts, eryxon.WithFailedRecords(o.failed))
	}
	if o.audit != nil {
		opts = append(opts, eryxon.WithAuditLog(o.audit))
	}
	return opts
}

func (o *outputs) close() []error {
	var errs []error
	for _, f := range []*os.File{o.failed, o.audit} {
		if f != nil {
			if err := f.Close(); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errs
}
