package eryxon

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// bulkAnswer is the answer to a bulk sync in any of the shapes seen. Its
// entries hold views of the body that it was read from.
type bulkAnswer struct {
	envelope
	hasData bool
	// Counts, -1 where the answer does not give them.
	total, created, updated, failed int
	listed                          bool // a list of results came, not counts alone
	nested                          bool // the counts stand where the documentation has that list
	entries                         []bulkEntry
}

// bulkEntry is what an answer says of one record.
type bulkEntry struct {
	fault
	externalID []byte // nil where it names none
	source     []byte // nil where it names none
	id         []byte
	action     string
}

// readBulk reads a bulk answer: the documented one with its list of results,
// or the one with counts and a list of errors. It is lenient: what is odd in
// one entry spoils that entry alone.
func readBulk(body []byte) (*bulkAnswer, error) {
	a := &bulkAnswer{total: -1, created: -1, updated: -1, failed: -1}
	err := readMembers(body, &a.envelope, func(d *answerReader) {
		a.hasData = d.dec.PeekKind() == '{'
		d.object(func(name string) { a.readData(d, name) })
	})
	if err == nil && a.succeeded() && !a.hasData {
		err = errors.New("a success without data")
	}
	return a, err
}

// readMembers reads an answer's success and error into env; data reads its data.
func readMembers(body []byte, env *envelope, data func(*answerReader)) error {
	d := answerReader{
		body: body,
		dec: jsontext.NewDecoder(bytes.NewBuffer(body),
			jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)),
	}
	d.object(func(name string) {
		switch name {
		case "success":
			if raw := d.value(); string(raw) == "true" || string(raw) == "false" {
				success := string(raw) == "true"
				env.success = &success
			}
		case "error":
			env.fault = readFault(d.value())
		case "data":
			data(&d)
		default:
			d.value()
		}
	})
	if d.err == nil {
		if _, err := d.dec.ReadToken(); !errors.Is(err, io.EOF) {
			d.err = errors.New("more than one JSON value")
		}
	}
	return d.err
}

func (a *bulkAnswer) readData(d *answerReader, name string) {
	switch name {
	case "total":
		a.total = d.count()
	case "created":
		a.created = d.count()
	case "updated":
		a.updated = d.count()
	case "errors", "failed":
		// A list of errors stands where the documentation has their number.
		if d.dec.PeekKind() == '[' {
			d.array(func() { a.readEntry(d, "error") })
			return
		}
		a.failed = d.count()
	case "results":
		if d.dec.PeekKind() == '{' {
			a.nested = true
			d.object(func(name string) { a.readData(d, name) })
			return
		}
		a.listed = d.dec.PeekKind() == '['
		d.array(func() { a.readEntry(d, "") })
	default:
		d.value()
	}
}

func (a *bulkAnswer) readEntry(d *answerReader, action string) {
	e := bulkEntry{action: action}
	d.object(func(name string) {
		switch name {
		case "external_id":
			e.externalID = d.text()
		case "external_source":
			e.source = d.text()
		case "id":
			e.id = d.text()
		case "action":
			e.action = internAction(d.text())
		case "error":
			e.fault = readFault(d.value())
		case "item":
			d.object(func(name string) {
				switch name {
				case "external_id":
					e.externalID = d.text()
				case "external_source":
					e.source = d.text()
				default:
					d.value()
				}
			})
		default:
			d.value()
		}
	})
	if a.entries == nil {
		// About as many as the body can hold, at most a full request's.
		a.entries = make([]bulkEntry, 0, min(len(d.body)/64, maxRecords))
	}
	a.entries = append(a.entries, e)
}

// strike removes the key from what errors may repeat.
func (a *bulkAnswer) strike(redact func([]byte) []byte) {
	for i := range a.entries {
		e := &a.entries[i]
		if e.told() {
			e.redact(redact)
		}
		if actionStatus(e.action) == StatusUnknown {
			e.action = string(redact([]byte(e.action)))
		}
	}
}

// internAction saves an allocation for the actions that servers use.
func internAction(b []byte) string {
	switch string(b) {
	case "created":
		return "created"
	case "updated":
		return "updated"
	case "error":
		return "error"
	}
	return string(b)
}

// answerReader walks over an answer. After an error it reads nothing more.
type answerReader struct {
	body []byte
	dec  *jsontext.Decoder
	err  error
}

// value reads any value. It is a view of the body.
func (d *answerReader) value() []byte {
	if d.err != nil {
		return nil
	}
	v, err := d.dec.ReadValue()
	if err != nil {
		d.fail(err)
		return nil
	}
	end := d.dec.InputOffset()
	return d.body[end-int64(len(v)) : end]
}

func (d *answerReader) fail(err error) {
	d.err = err
	if errors.Is(err, io.EOF) {
		d.err = io.ErrUnexpectedEOF
	}
}

// object calls member for each member's name; member reads its value. What is
// not an object is passed over.
func (d *answerReader) object(member func(name string)) {
	d.each('{', func() {
		name := d.text()
		if d.err == nil {
			member(string(name))
		}
	})
}

func (d *answerReader) array(element func()) { d.each('[', element) }

func (d *answerReader) each(kind jsontext.Kind, read func()) {
	if d.err != nil {
		return
	}
	if d.dec.PeekKind() != kind {
		d.value()
		return
	}
	if _, err := d.dec.ReadToken(); err != nil {
		d.fail(err)
		return
	}
	for d.err == nil {
		switch d.dec.PeekKind() {
		case '}', ']':
			if _, err := d.dec.ReadToken(); err != nil {
				d.fail(err)
			}
			return
		case 0:
			d.value() // brings the error
			return
		}
		read()
	}
}

// text reads a string, or a number by its digits; nil for anything else.
func (d *answerReader) text() []byte {
	v := d.value()
	switch {
	case len(v) < 1:
		return nil
	case v[0] == '-' || v[0] >= '0' && v[0] <= '9':
		return v
	case v[0] != '"':
		return nil
	case bytes.IndexByte(v, '\\') < 0:
		return v[1 : len(v)-1 : len(v)-1]
	}
	unquoted, _ := jsontext.AppendUnquote(nil, v) // an error leaves a replacement character in it
	return unquoted
}

// count reads a number of records; -1 for anything else.
func (d *answerReader) count() int {
	if n, ok := parseCount(string(d.value())); ok {
		return n
	}
	return -1
}
