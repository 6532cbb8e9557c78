package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/eryxon/eryxon-go"
)

// settings is what the command line says.
type settings struct {
	dir         string // the folder of CSV files, or
	replay      string // the failed-records file to sync again
	source      string
	failed      string
	audit       string
	budget      int
	concurrency int
	dryRun      bool
	doctor      bool
}

const usage = `Usage: csvsync [flags] FOLDER
       csvsync [flags] -replay FILE
       csvsync -doctor

Brings cells.csv, resources.csv, jobs.csv, parts.csv and operations.csv of a
folder, as far as they are there, into Eryxon MES: into the installation of
ERYXON_BASE_URL and ERYXON_API_KEY, or else into a built-in server.

Exit status: 0 all records arrived; 1 some did not; 2 none did, or bad usage.

`

func parseFlags(args []string, stderr io.Writer) (*settings, error) {
	var s settings
	flags := flag.NewFlagSet("csvsync", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&s.source, "source", "", "`name` of the ERP system, for records without external_source")
	flags.StringVar(&s.failed, "failed", "", "write records that did not arrive to `file`, replacing it; for -replay")
	flags.StringVar(&s.replay, "replay", "", "sync the corrected records of a failed-records `file` again")
	flags.StringVar(&s.audit, "audit", "", "append a line for each record that arrived to `file`")
	flags.IntVar(&s.budget, "budget", 0, "end after `n` requests, retries included (0: no limit)")
	flags.IntVar(&s.concurrency, "concurrency", 0, "`n` requests at once, 1 to 64 (0: the SDK's default)")
	flags.BoolVar(&s.dryRun, "dry-run", false, "check and estimate only: no request is made and no file written")
	flags.BoolVar(&s.doctor, "doctor", false, "tell what is wrong with address, key, server or quota, and sync nothing")
	if err := flags.Parse(args); err != nil {
		return nil, err // told by flags already
	}
	err := s.take(flags.Args())
	if err != nil {
		fmt.Fprintf(stderr, "csvsync: %v (csvsync -h tells more)\n", err)
	}
	return &s, err
}

func (s *settings) take(rest []string) error {
	switch {
	case s.doctor && (s.replay != "" || len(rest) > 0):
		return errors.New("-doctor takes neither a folder nor -replay: it syncs nothing")
	case s.doctor:
		return nil
	case s.replay != "" && len(rest) > 0:
		return errors.New("-replay takes no folder: sync the folder in a run of its own")
	case s.replay == "" && len(rest) != 1:
		return fmt.Errorf("want one folder, got %d", len(rest))
	case s.budget < 0:
		return fmt.Errorf("-budget %d: want 0 or more", s.budget)
	case s.replay == "":
		s.dir = rest[0]
	}
	return s.keepInputs()
}

// keepInputs refuses outputs that would overwrite an input or one another.
func (s *settings) keepInputs() error {
	type named struct{ flag, path string }
	taken := []named{{"-replay", s.replay}}
	if s.dir != "" {
		for _, e := range entities {
			taken = append(taken, named{"input", filepath.Join(s.dir, fileName(e))})
		}
	}
	for _, out := range []named{{"-failed", s.failed}, {"-audit", s.audit}} {
		if out.path == "" {
			continue
		}
		for _, other := range taken {
			if other.path != "" && sameFile(out.path, other.path) {
				return fmt.Errorf("%s %s is the file of %s too: name another", out.flag, out.path, other.flag)
			}
		}
		taken = append(taken, out)
	}
	return nil
}

func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	if errA == nil && errB == nil {
		return os.SameFile(infoA, infoB)
	}
	absA, errA := filepath.Abs(a)
	absB, errB := filepath.Abs(b)
	return errA == nil && errB == nil && absA == absB
}

// options are those of the SDK that the command line asks for.
func (s *settings) options() []eryxon.Option {
	opts := []eryxon.Option{eryxon.WithUserAgent("eryxon-csvsync/1.0")}
	if s.source != "" {
		opts = append(opts, eryxon.WithSource(s.source))
	}
	if s.budget > 0 {
		opts = append(opts, eryxon.WithRequestBudget(s.budget))
	}
	if s.concurrency != 0 {
		opts = append(opts, eryxon.WithConcurrency(s.concurrency))
	}
	return opts
}
