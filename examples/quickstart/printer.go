package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/eryxon/eryxon-go"
)

// printer shows outcomes as aligned lines, and keeps what was not expected.
type printer struct {
	out        io.Writer
	synced     int
	refusals   int
	unexpected []error
}

func (p *printer) title(text string) { fmt.Fprintf(p.out, "\n%s\n", text) }

func (p *printer) line(how, what, outcome, detail string) {
	text := fmt.Sprintf("  %-6s%-23s%-9s  %s", how, what, outcome, detail)
	fmt.Fprintln(p.out, strings.TrimRight(text, " "))
}

// reason shows a long text below the line that it belongs to.
func (p *printer) reason(text string) {
	const indent, width = "        ", 92
	line := indent
	for word := range strings.FieldsSeq(text) {
		if len(line)+len(word) > width && line != indent {
			fmt.Fprintln(p.out, strings.TrimRight(line, " "))
			line = indent
		}
		line += word + " "
	}
	fmt.Fprintln(p.out, strings.TrimRight(line, " "))
}

// fail shows an error that should not be.
func (p *printer) fail(err error) {
	p.unexpected = append(p.unexpected, err)
	p.reason("NOT AS EXPECTED: " + err.Error())
}

// hopeless reports whether further calls would fail as the last one did.
func (p *printer) hopeless() bool {
	err := errors.Join(p.unexpected...)
	for _, kind := range []error{
		eryxon.ErrUnauthorized, eryxon.ErrForbidden, eryxon.ErrNotFound, eryxon.ErrRedirect, eryxon.ErrRateLimited,
		eryxon.ErrConnection, context.Canceled,
	} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// of takes the outcome of a single sync, whatever its row.
func of[Row any](res *eryxon.SyncResult[Row], err error) (eryxon.Outcome, error) {
	return res.Outcome, err
}

// single shows a single sync that should have succeeded.
func (p *printer) single(o eryxon.Outcome, err error) {
	p.outcome("sync", o)
	if err != nil {
		p.fail(err)
		return
	}
	p.synced++
}

func (p *printer) outcome(how string, o eryxon.Outcome) {
	p.line(how, o.Key.ExternalID, o.Status.String(), o.ID)
	if n := len(o.Nested); n > 0 && o.Err == nil && o.Nested[0].Status == eryxon.StatusUnknown {
		p.reason(fmt.Sprintf("with %d records nested in it, of which the answer tells nothing", n))
		return
	}
	for _, n := range o.Nested {
		p.line("", n.Key.ExternalID, n.Status.String(), n.ID)
	}
}

// bulk shows a bulk sync that should have succeeded.
func (p *printer) bulk(res *eryxon.BulkResult, err error) {
	how := "bulk"
	for _, o := range res.Outcomes {
		p.outcome(how, o)
		how = ""
	}
	p.synced += res.Counts.Succeeded()
	if err != nil {
		p.fail(err)
	}
}

// refused shows a call that should have been refused.
func (p *printer) refused(how, what string, err, kind error) {
	if !errors.Is(err, kind) {
		p.line(how, what, "?", "")
		p.fail(fmt.Errorf("want a refusal (%w), got: %w", kind, orNone(err)))
		return
	}
	p.refusals++
	p.line(how, what, "refused", "")
	p.reason(err.Error())
}

// partial shows a bulk of which all but one record should have arrived.
func (p *printer) partial(res *eryxon.BulkResult, err error) {
	var partial *eryxon.PartialError
	if !errors.As(err, &partial) || len(partial.Failures) != 1 || partial.Failures[0].Status != eryxon.StatusFailed {
		p.bulk(res, fmt.Errorf("want one record refused, got: %w", orNone(err)))
		return
	}
	p.bulk(res, nil)
	p.refusals++
	p.reason(partial.Failures[0].Error())
}

func orNone(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}

func (p *printer) summary(limit eryxon.RateLimit) {
	fmt.Fprintf(p.out, "\n%d records synced, %d refused on purpose, %d requests made", p.synced, p.refusals, limit.Requests)
	if limit.Known {
		fmt.Fprintf(p.out, ";\n%d of %d are left until %s", limit.Remaining, limit.Limit, limit.Reset.Format(time.DateTime))
	}
	fmt.Fprintln(p.out, ".")
}

func (p *printer) verdict() error {
	if n := len(p.unexpected); n > 0 {
		return fmt.Errorf("%d not as expected, the first: %w", n, p.unexpected[0])
	}
	return nil
}
