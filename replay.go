package eryxon

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// failedRecord is a line of a failed-records file.
type failedRecord struct {
	Entity    Entity          `json:"entity"`
	Status    Status          `json:"status"`
	Error     string          `json:"error"`
	Code      string          `json:"code,omitempty"`
	Fields    []FieldError    `json:"fields,omitempty"`
	RequestID string          `json:"request_id,omitempty"`
	Record    json.RawMessage `json:"record"`
}

// WithFailedRecords writes every record that did not succeed to w while the
// run goes on: one JSON object a line, with the record, its outcome, the error,
// the fields at fault and the request id. Correct the records in it and hand it
// to [ReadFailedRecords] to sync them again. Of a record that JSON can't hold,
// such as text that is not UTF-8, only the key is written. Superseded records
// are left out: what replaced them is accounted for. An error of w is returned
// by SyncAll in the end.
func WithFailedRecords(w io.Writer) SyncAllOption {
	return sinkOption("WithFailedRecords", w, true, func(_ string, o Outcome) (any, error) {
		if o.Status == StatusSuperseded {
			return nil, nil
		}
		line := failedRecord{Entity: o.Entity, Status: o.Status, RequestID: o.RequestID}
		var err error
		if line.Record, err = writable(o); err != nil || !json.Valid(line.Record) {
			// JSON can't hold it: what remains is its key.
			line.Record, err = json.Marshal(o.Key)
		}
		if o.Err != nil {
			line.Error = o.Err.Error()
		}
		var record *RecordError
		if errors.As(o.Err, &record) {
			line.Code = record.Code
		}
		var invalid *ValidationError
		switch {
		case o.Status == StatusParentFailed: // the fields would be the parent's
		case errors.As(o.Err, &invalid):
			line.Fields = invalid.Details
		case record != nil && record.Field != "":
			line.Fields = []FieldError{{Field: record.Field, Message: record.Message}}
		}
		return line, err
	})
}

// writable encodes an outcome's record with the source that it was synced
// under, whatever rules it breaks: it is there to be corrected.
func writable(o Outcome) ([]byte, error) {
	switch r := o.Record.(type) {
	case Cell:
		return encodeFaithfully(&r, o.Key)
	case Resource:
		return encodeFaithfully(&r, o.Key)
	case Job:
		return encodeFaithfully(&r, o.Key)
	case Part:
		return encodeFaithfully(&r, o.Key)
	case Operation:
		return encodeFaithfully(&r, o.Key)
	}
	return nil, fmt.Errorf("eryxon: no record in the outcome of %s %s", o.Entity.singular(), o.Key)
}

// encodeFaithfully fails on a record that would be read back as another one,
// which the local rules might then let pass: text that is not UTF-8, and extra
// columns that stand for a field.
func encodeFaithfully[R any, P recordPtr[R]](r P, key Key) ([]byte, error) {
	var rules checker
	r.values(&rules)
	for _, d := range rules.details {
		if d.Message == notUTF8 || d.Message == extraIsField {
			return nil, fmt.Errorf("eryxon: %s %s", d.Field, d.Message)
		}
	}
	return r.appendJSON(nil, key.Source)
}

// acknowledgement is a line of an audit log.
type acknowledgement struct {
	RunID string    `json:"run_id"`
	Time  time.Time `json:"time"`
	Key
	Entity    Entity `json:"entity"`
	Status    Status `json:"status"`
	ID        string `json:"id,omitempty"`
	RequestID string `json:"request_id,omitempty"`
}

// WithAuditLog writes every acknowledged record to w while the run goes on:
// one JSON object a line, with the run's id, the time, the key, the status, the
// row's UUID where known, and the request id. What is unchanged has a line, too, without
// a request id where an earlier run's acknowledgement is why. An error of w is returned by
// SyncAll in the end.
func WithAuditLog(w io.Writer) SyncAllOption {
	return sinkOption("WithAuditLog", w, false, func(runID string, o Outcome) (any, error) {
		return acknowledgement{RunID: runID, Time: time.Now().UTC(), Key: o.Key, Entity: o.Entity, Status: o.Status, ID: o.ID, RequestID: o.RequestID}, nil
	})
}

// sinkOption writes a line for each outcome that line makes one of.
func sinkOption(name string, w io.Writer, failures bool, line func(runID string, o Outcome) (any, error)) SyncAllOption {
	return syncAllOption(func(c *config) error {
		if w == nil {
			return fmt.Errorf("eryxon: %s: nil writer", name)
		}
		c.sinks = append(c.sinks[:len(c.sinks):len(c.sinks)], sinkFunc{name: name, failures: failures, write: func(runID string, o Outcome) error {
			v, err := line(runID, o)
			if v == nil || err != nil {
				return err
			}
			text, err := json.Marshal(v)
			if err != nil {
				return err
			}
			_, err = w.Write(append(text, '\n'))
			return err
		}})
		return nil
	})
}

// ReadFailedRecords reads what [WithFailedRecords] has written, so that
// correcting and syncing again is one call. It reads the whole file and fails
// on the first line that is not such a record, with its number; nothing is
// skipped but empty lines.
func ReadFailedRecords(r io.Reader) (Dataset, error) {
	var (
		cells     []Cell
		resources []Resource
		jobs      []Job
		parts     []Part
		ops       []Operation
	)
	lines := bufio.NewReader(r)
	for n := 1; ; n++ {
		text, readErr := lines.ReadBytes('\n')
		ended := errors.Is(readErr, io.EOF)
		if readErr != nil && !ended {
			return Dataset{}, fmt.Errorf("eryxon: failed records, line %d: %w", n, readErr)
		}
		if n == 1 {
			text = bytes.TrimPrefix(text, []byte("\ufeff")) // some editors put it there
		}
		if text = bytes.TrimSpace(text); len(text) > 0 {
			var line failedRecord
			err := json.Unmarshal(text, &line)
			if err == nil {
				switch line.Entity {
				case EntityCells:
					err = appendRecord(&cells, line.Record)
				case EntityResources:
					err = appendRecord(&resources, line.Record)
				case EntityJobs:
					err = appendRecord(&jobs, line.Record)
				case EntityParts:
					err = appendRecord(&parts, line.Record)
				case EntityOperations:
					err = appendRecord(&ops, line.Record)
				default:
					err = fmt.Errorf("entity is %.40q: want cells, resources, jobs, parts or operations", line.Entity)
				}
			}
			if err != nil {
				return Dataset{}, fmt.Errorf("eryxon: failed records, line %d%s: %w", n, line.name(), err)
			}
		}
		if ended {
			return Dataset{
				Cells: FromSlice(cells), Resources: FromSlice(resources), Jobs: FromSlice(jobs),
				Parts: FromSlice(parts), Operations: FromSlice(ops),
			}, nil
		}
	}
}

// name is what the line says of whose record it is, for an error; "" where nothing.
func (l *failedRecord) name() string {
	var key Key
	if json.Unmarshal(l.Record, &key) != nil || key.ExternalID == "" {
		return ""
	}
	return fmt.Sprintf(" (%s %s)", l.Entity.singular(), key)
}

func appendRecord[R any](list *[]R, raw json.RawMessage) error {
	if len(raw) == 0 || string(raw) == "null" {
		return errors.New("no record")
	}
	var r R
	if err := json.Unmarshal(raw, &r); err != nil {
		return err
	}
	*list = append(*list, r)
	return nil
}
