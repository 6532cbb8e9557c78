package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/eryxon/eryxon-go"
)

// night is one run.
type night struct {
	*settings
	stdout, stderr io.Writer
}

// listed is how many records are told one by one.
const listed = 20

func (n *night) run(ctx context.Context, client *eryxon.Client) int {
	if n.doctor {
		found := client.Doctor(ctx)
		fmt.Fprint(n.stdout, found)
		if !found.Healthy() {
			return exitSick
		}
		return exitDone
	}
	data, err := n.read(ctx)
	if err != nil {
		return n.fail(statusOf(err), fmt.Errorf("nothing was sent: %w", err))
	}
	if n.check {
		found, err := client.Check(ctx, eryxon.CheckOptions{})
		if err != nil {
			return n.fail(statusOf(err), fmt.Errorf("nothing was sent: %w", err))
		}
		fmt.Fprintln(n.stdout, found)
	}
	return n.sync(ctx, client, data)
}

// sync sends what changed and accounts for it.
func (n *night) sync(ctx context.Context, client *eryxon.Client, data eryxon.Dataset) int {
	var failed bytes.Buffer
	opts := []eryxon.SyncAllOption{eryxon.WithFailedRecords(&failed)}
	if n.dryRun {
		opts = append(opts, eryxon.WithDryRun(n.tell))
	}
	if n.complete {
		opts = append(opts, eryxon.WithCompleteExport(n.source, nil))
	}
	report, err := client.SyncAll(ctx, data, opts...)
	if err != nil && report.Total().Read == 0 {
		return n.fail(statusOf(err), err) // it has not begun
	}
	fmt.Fprint(n.stdout, report)
	status := n.verdict(report, err)
	n.tellDisappeared(report.Disappeared)

	account := account{Report: report}
	if report.Ended != nil {
		account.Ended = report.Ended.Error()
	}
	if n.deactivate && !n.dryRun && status != exitEarly {
		var after int
		account.Deactivated, after = n.takeOutOfUse(ctx, client, data)
		status = max(status, after)
	}
	if err := n.writeFiles(account, failed.Bytes()); err != nil {
		return n.fail(max(status, exitFailed), err)
	}
	return status
}

// verdict tells what went wrong, if anything did, and what to do.
func (n *night) verdict(report *eryxon.Report, err error) int {
	var partial *eryxon.PartialError
	if errors.As(err, &partial) {
		told := 0
		for _, f := range partial.Failures {
			if f.Status != eryxon.StatusNotSent && told < listed { // why the others were not is told below
				fmt.Fprintln(n.stderr, f)
				told++
			}
		}
	}
	counts := report.Total().Counts
	bad := counts.Failed + counts.ParentFailed
	switch {
	case report.Ended != nil:
		return n.fail(exitEarly, fmt.Errorf("the run ended early, the next one goes on: %w", report.Ended))
	case counts.NotSent+counts.Unknown > 0:
		return n.fail(exitEarly, fmt.Errorf("%d of %d records were not sent, or nothing is known of them: the next run sends them", counts.NotSent+counts.Unknown, counts.Total()))
	case bad > 0:
		return n.fail(exitFailed, fmt.Errorf("%d of %d records failed: correct them in the ERP, and the next run sends them", bad, counts.Total()))
	}
	return exitDone
}

// tell tells what would become of a record.
func (n *night) tell(o eryxon.Outcome) {
	switch {
	case o.Status == eryxon.StatusUnchanged:
	case len(o.Changed) > 0:
		fmt.Fprintf(n.stdout, "%s %s %s: %s\n", o.Status, o.Entity, o.Key, strings.Join(o.Changed, ", "))
	default:
		fmt.Fprintf(n.stdout, "%s %s %s\n", o.Status, o.Entity, o.Key)
	}
}

// takeOutOfUse sets cells and resources that have disappeared to inactive.
// Jobs, parts and operations disappear from an ERP because they are done, so
// they are left alone: eryxon.Deactivation takes what your ERP means by it.
func (n *night) takeOutOfUse(ctx context.Context, client *eryxon.Client, data eryxon.Dataset) (*eryxon.Report, int) {
	equipment := func(e eryxon.Entity, _ eryxon.Key) bool {
		return e == eryxon.EntityCells || e == eryxon.EntityResources
	}
	dry, err := client.SyncAll(ctx, data, eryxon.WithDryRun(nil), eryxon.WithCompleteExport(n.source, equipment))
	if dry.Disappeared == nil {
		return nil, n.fail(statusOf(err), err)
	}
	if len(dry.Disappeared.Records) == 0 {
		return nil, exitDone
	}
	report, err := client.Deactivate(ctx, dry.Disappeared, eryxon.Deactivation{MaxShare: n.maxShare})
	if err != nil && report.Total().Read == 0 {
		return nil, n.fail(statusOf(err), err)
	}
	fmt.Fprint(n.stdout, "set to inactive:\n", report)
	return report, n.verdict(report, err)
}

func (n *night) tellDisappeared(gone *eryxon.Disappeared) {
	if gone == nil {
		return
	}
	for i, r := range gone.Records {
		if i == listed {
			fmt.Fprintf(n.stdout, "… and %d more: the report of -report lists all\n", len(gone.Records)-listed)
			break
		}
		fmt.Fprintf(n.stdout, "disappeared: %s %s\n", r.Entity, r.Key)
	}
}

// account is what the file of -report holds.
type account struct {
	*eryxon.Report
	Ended       string         `json:"ended,omitempty"` // why, where it was early
	Deactivated *eryxon.Report `json:"deactivated,omitempty"`
}

func (n *night) writeFiles(a account, failed []byte) error {
	text, err := json.MarshalIndent(a, "", "  ")
	if err == nil && n.report != "" {
		err = replaceFile(n.report, append(text, '\n'))
	}
	if n.failed == "" || n.dryRun {
		return err
	}
	if len(failed) > 0 {
		return errors.Join(err, replaceFile(n.failed, failed))
	}
	if gone := os.Remove(n.failed); gone != nil && !errors.Is(gone, os.ErrNotExist) {
		return errors.Join(err, gone)
	}
	return err
}

// replaceFile writes a file whole or not at all.
func replaceFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // what went wrong before is told
	}
	return err
}
