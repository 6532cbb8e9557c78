package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/eryxon/eryxon-go"
)

// tellRejects writes a line for each complaint.
func (l *load) tellRejects(w io.Writer) {
	for _, j := range l.rejects {
		for _, c := range j.complaints {
			fmt.Fprintf(w, "%s: %s\n", place(j.file, j.line), c)
		}
	}
}

// failedLine is a line of a failed-records file for a record that the SDK
// never saw, in the form that it gives to the others.
type failedLine struct {
	Entity eryxon.Entity       `json:"entity"`
	Status eryxon.Status       `json:"status"`
	Error  string              `json:"error"`
	Fields []eryxon.FieldError `json:"fields,omitempty"`
	Record any                 `json:"record"`
}

// writeRejects adds the rejects to the failed-records file.
func (l *load) writeRejects(w io.Writer) error {
	for _, j := range l.rejects {
		line := failedLine{Entity: j.entity, Status: j.status, Record: j.record}
		texts := make([]string, len(j.complaints))
		for i, c := range j.complaints {
			texts[i] = c.String()
			if c.column != "" {
				line.Fields = append(line.Fields, eryxon.FieldError{Field: c.column, Message: c.text})
			}
		}
		line.Error = place(j.file, j.line) + ": " + strings.Join(texts, "; ")
		text, err := json.Marshal(line)
		if err != nil { // the record's text can't be told in JSON
			line.Record = nil
			if text, err = json.Marshal(line); err != nil {
				return err
			}
		}
		if _, err = w.Write(append(text, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// countRejects adds the rejects to the report, which is of what the SDK saw.
func (l *load) countRejects(r *eryxon.Report) {
	for _, j := range l.rejects {
		of := entityReport(r, j.entity)
		of.Read++
		if j.status == eryxon.StatusParentFailed {
			of.Counts.ParentFailed++
		} else {
			of.Counts.Failed++
		}
	}
}

func entityReport(r *eryxon.Report, e eryxon.Entity) *eryxon.EntityReport {
	switch e {
	case eryxon.EntityCells:
		return &r.Cells
	case eryxon.EntityResources:
		return &r.Resources
	case eryxon.EntityJobs:
		return &r.Jobs
	case eryxon.EntityParts:
		return &r.Parts
	default:
		return &r.Operations
	}
}

// tellFailures writes lines for records that the SDK or the server refused, in
// the order of the files. Records that were only not sent are counted: what
// ended the run is told once.
func (l *load) tellFailures(w io.Writer, failures []*eryxon.RecordError) {
	slices.SortStableFunc(failures, func(a, b *eryxon.RecordError) int {
		return cmp.Or(
			cmp.Compare(slices.Index(entities, a.Entity), slices.Index(entities, b.Entity)),
			cmp.Compare(l.line(a.Entity, a.Index), l.line(b.Entity, b.Index)),
		)
	})
	for _, f := range failures {
		if f.Status == eryxon.StatusNotSent {
			continue
		}
		for _, text := range l.describe(f) {
			fmt.Fprintf(w, "%s: %s\n", l.place(f.Entity, f.Index), text)
		}
	}
}

// describe tells what became of a record, without what its place says.
func (l *load) describe(f *eryxon.RecordError) []string {
	if parent := parentOf(f); f.Status == eryxon.StatusParentFailed && parent != nil {
		return []string{fmt.Sprintf("%s: its %s (%s) is not sent", f.Status, singular(parent.Entity), l.place(parent.Entity, parent.Index))}
	}
	var invalid *eryxon.ValidationError
	if errors.As(f, &invalid) && invalid.Local {
		var texts []string
		for _, d := range invalid.Details {
			text := d.Field + " " + d.Message
			if d.Constraint == "UNIQUE" && d.Field == "external_id" {
				text = l.repeated(f, text)
			}
			texts = append(texts, text)
		}
		return texts
	}
	nowhere := *f
	nowhere.Index = -1 // the line says where
	return []string{strings.TrimPrefix(nowhere.Error(), "eryxon: ")}
}

// parentOf is the failure that kept a record from being sent.
func parentOf(f *eryxon.RecordError) *eryxon.RecordError {
	for _, cause := range f.Unwrap() {
		var parent *eryxon.RecordError
		if errors.As(cause, &parent) {
			return parent
		}
	}
	return nil
}

// repeated tells the lines of a key that stands on several records, or else
// the SDK's words, which give their places in the dataset.
func (l *load) repeated(f *eryxon.RecordError, otherwise string) string {
	at := l.at[f.Entity]
	if at == nil || len(at.keys[f.Key]) < 2 {
		return otherwise
	}
	var lines []string
	for _, n := range at.keys[f.Key] {
		lines = append(lines, strconv.Itoa(n))
	}
	return fmt.Sprintf("external_id %q stands on several records of different content (lines %s): leave one of them", f.Key.ExternalID, strings.Join(lines, ", "))
}
