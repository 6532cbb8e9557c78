package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/eryxon/eryxon-go"
)

// settings is what the command line says.
type settings struct {
	csv, sql, driver, queries string
	source, state             string
	quota, reserve, budget    int
	full, extra               bool
	maxAge                    time.Duration
	complete, deactivate      bool
	maxShare                  float64
	failed, report            string
	dryRun, check             bool
	doctor, demo              bool
}

const usage = `Usage: nightly [flags] -csv FOLDER
       nightly [flags] -driver NAME -sql DSN
       nightly -demo

Brings what changed since the last run into the Eryxon MES of ERYXON_BASE_URL
and ERYXON_API_KEY.

Exit status: 0 all is well; 1 some records failed, or too many have
disappeared; 2 bad usage, configuration or input, nothing was sent; 3 another
run has the state; 4 the run ended early (quota, key, network, signal), the
next one goes on; 5 the doctor found a problem.

`

func parseFlags(args []string, stderr io.Writer) (*settings, error) {
	var s settings
	flags := flag.NewFlagSet("nightly", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&s.csv, "csv", "", "`folder` of cells.csv, resources.csv, jobs.csv, parts.csv, operations.csv, as far as they are there")
	flags.StringVar(&s.sql, "sql", "", "`DSN` of the database to ask")
	flags.StringVar(&s.driver, "driver", "sqlite", "`name` of the database's driver, which the program imports")
	flags.StringVar(&s.queries, "queries", "", "`folder` of cells.sql, resources.sql, … (default: those built in)")
	flags.BoolVar(&s.extra, "extra", false, "send columns that the API reference does not have, as text")
	flags.StringVar(&s.source, "source", "", "`name` of the ERP system, for records without external_source")
	flags.StringVar(&s.state, "state", "nightly.state", "`file` that remembers what the server has")
	flags.IntVar(&s.quota, "quota", 0, "the plan allows `n` requests a day")
	flags.IntVar(&s.reserve, "reserve", 0, "leave `n` requests of the quota to others")
	flags.IntVar(&s.budget, "budget", 0, "end the sync after `n` requests (0: no bound)")
	flags.BoolVar(&s.full, "full", false, "send unchanged records too")
	flags.DurationVar(&s.maxAge, "max-age", 0, "send unchanged records too whose last acknowledgement is `this` old, such as 168h")
	flags.BoolVar(&s.complete, "complete", false, "the export holds everything: tell what has disappeared from it")
	flags.BoolVar(&s.deactivate, "deactivate", false, "with -complete: set cells and resources that have disappeared to inactive")
	flags.Float64Var(&s.maxShare, "max-share", 0.1, "with -deactivate: do nothing where a larger `share` has disappeared")
	flags.StringVar(&s.failed, "failed", "", "write records that did not arrive to `file`; without any it is removed")
	flags.StringVar(&s.report, "report", "", "write the report to `file`, as JSON")
	flags.BoolVar(&s.dryRun, "dry-run", false, "send nothing, tell what would be done")
	flags.BoolVar(&s.check, "check", false, "compare the state with the server first, and send what is gone or differs there")
	flags.BoolVar(&s.doctor, "doctor", false, "tell whether all is well between here and the server, and end")
	flags.BoolVar(&s.demo, "demo", false, "three nights of the sample data with a built-in server")
	if err := flags.Parse(args); err != nil {
		return nil, err // told by flags already
	}
	err := s.verify(flags.Args(), flags.NFlag())
	if err != nil {
		fmt.Fprintf(stderr, "nightly: %v (nightly -h tells more)\n", err)
	}
	return &s, err
}

func (s *settings) verify(rest []string, given int) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q: want flags only", rest[0])
	case s.demo && given > 1:
		return errors.New("-demo goes alone")
	case s.demo, s.doctor:
		return nil
	case (s.csv == "") == (s.sql == ""):
		return errors.New("want one of -csv and -sql")
	case s.complete && s.source == "":
		return errors.New("-complete needs -source: what is the export complete of?")
	case s.deactivate && !s.complete:
		return errors.New("-deactivate needs -complete: only a complete export tells what has disappeared")
	case !(s.maxShare > 0 && s.maxShare <= 1):
		return fmt.Errorf("-max-share %v: want more than 0, at most 1", s.maxShare)
	}
	return nil
}

// options are those of the SDK that the command line asks for.
func (s *settings) options(state eryxon.State) []eryxon.Option {
	opts := []eryxon.Option{eryxon.WithUserAgent("eryxon-nightly/1.0"), eryxon.WithState(state)}
	if s.source != "" {
		opts = append(opts, eryxon.WithSource(s.source))
	}
	if s.quota != 0 {
		opts = append(opts, eryxon.WithDailyQuota(s.quota))
	}
	if s.reserve != 0 {
		opts = append(opts, eryxon.WithQuotaReserve(s.reserve))
	}
	if s.budget != 0 {
		opts = append(opts, eryxon.WithRequestBudget(s.budget))
	}
	if s.full {
		opts = append(opts, eryxon.WithFull())
	}
	if s.maxAge != 0 {
		opts = append(opts, eryxon.WithMaxAge(s.maxAge))
	}
	return opts
}

// read reads the export. Nothing is sent where it can't be read.
func (s *settings) read(ctx context.Context) (eryxon.Dataset, error) {
	tables, err := s.tables(ctx)
	if err != nil {
		return eryxon.Dataset{}, err
	}
	return tables.dataset(s.extra)
}

func (s *settings) tables(ctx context.Context) (export, error) {
	if s.csv != "" {
		return readCSV(s.csv)
	}
	queries, err := fs.Sub(embedded, "queries")
	if s.queries != "" {
		queries = os.DirFS(s.queries)
	}
	if err != nil {
		return nil, err
	}
	db, err := sql.Open(s.driver, s.sql)
	if err != nil {
		return nil, fmt.Errorf("-driver: %w", err)
	}
	defer func() { _ = db.Close() }() // it is only read from
	return readSQL(ctx, db, queries)
}
