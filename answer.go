package eryxon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// fault is why a request, or one record of it, was refused, in the server's words.
type fault struct {
	code    string
	message string
	details []FieldError
}

// told reports whether there is any word of it.
func (f *fault) told() bool { return f.code != "" || f.message != "" || len(f.details) > 0 }

// redact strikes the key out of what an error will repeat.
func (f *fault) redact(strike func([]byte) []byte) {
	f.message, f.code = string(strike([]byte(f.message))), printable(string(strike([]byte(f.code))))
	for i := range f.details {
		d := &f.details[i]
		for _, text := range []*string{&d.Field, &d.Message, &d.Constraint, &d.EntityType} {
			*text = printable(string(strike([]byte(*text))))
		}
		d.Value = redactValue(d.Value, strike)
	}
}

// envelope is what every answer is wrapped in.
type envelope struct {
	fault
	success *bool
	data    json.RawMessage // nil where absent or null
}

// redactValue strikes the key out of a value as encoding/json decodes it.
func redactValue(v any, strike func([]byte) []byte) any {
	switch v := v.(type) {
	case string:
		return string(strike([]byte(v)))
	case []any:
		for i := range v {
			v[i] = redactValue(v[i], strike)
		}
	case map[string]any:
		for name := range v {
			v[name] = redactValue(v[name], strike)
		}
	}
	return v
}

func (e *envelope) succeeded() bool { return e.success != nil && *e.success }

func (e *envelope) decodeData(out any) error {
	if e.data == nil {
		return errors.New("a success without data")
	}
	return json.Unmarshal(e.data, out)
}

// readEnvelope reads an answer whose data is small or not of interest. A body
// that ends too early gives io.ErrUnexpectedEOF.
func readEnvelope(body []byte) (envelope, error) {
	var raw struct {
		Success *bool           `json:"success"`
		Data    json.RawMessage `json:"data"`
		Error   json.RawMessage `json:"error"`
	}
	if err := unmarshal(body, &raw); err != nil {
		return envelope{}, err
	}
	env := envelope{success: raw.Success}
	if len(raw.Data) > 0 && string(raw.Data) != "null" {
		env.data = raw.Data
	}
	env.fault = readFault(raw.Error)
	return env, nil
}

// readFault reads the documented error object, a complaint about a field, a bare
// text, or a list of the latter two. What is odd in it spoils itself alone.
func readFault(raw []byte) fault {
	var f fault
	switch {
	case len(raw) == 0:
	case raw[0] == '{':
		var object struct {
			FieldError
			Code    looseText       `json:"code"`
			Message looseText       `json:"message"`
			Details json.RawMessage `json:"details"`
		}
		_ = json.Unmarshal(raw, &object) // what can be read of it
		f.code, f.message = string(object.Code), string(object.Message)
		f.details = readDetails(object.Details)
		if object.Field != "" {
			object.FieldError.Message = f.message
			f.details = append(f.details, object.FieldError)
		}
	case raw[0] == '[':
		var texts []looseText
		_ = json.Unmarshal(raw, &texts)
		texts = slices.DeleteFunc(texts, func(t looseText) bool { return t == "" })
		for i, text := range texts {
			if i > 0 {
				f.message += "; "
			}
			f.message += string(text)
		}
		f.details = readDetails(raw)
	default:
		var text looseText
		_ = json.Unmarshal(raw, &text)
		f.message = string(text)
	}
	if f.message == "" && len(f.details) > 0 {
		f.message = f.details[0].Message
	}
	return f
}

// readDetails reads a list of complaints. A plan limit's details are an object,
// which is none.
func readDetails(raw []byte) []FieldError {
	var details []FieldError
	_ = json.Unmarshal(raw, &details) // passes over members of another type
	return slices.DeleteFunc(details, func(d FieldError) bool { return d.Field == "" && d.Message == "" })
}

// unmarshal is json.Unmarshal with io.ErrUnexpectedEOF for a body cut short.
func unmarshal(body []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

// singleAnswer is the answer to a single sync, in the documented shape or in
// those of servers that send the row.
type singleAnswer struct {
	envelope
	record     fault  // what it says against the record
	confusion  string // where what it says of the record and the row's own words differ
	action     string
	id         string
	externalID string
	source     string
	deleted    bool
	row        json.RawMessage
}

// looseText reads a JSON string, or a number by its digits.
type looseText string

func (t *looseText) UnmarshalJSON(data []byte) error {
	var s string
	switch {
	case json.Unmarshal(data, &s) == nil:
		*t = looseText(s)
	case len(data) > 0 && (data[0] == '-' || data[0] >= '0' && data[0] <= '9'):
		*t = looseText(data)
	}
	return nil
}

func readSingle(body []byte, rowKey string) (singleAnswer, error) {
	env, err := readEnvelope(body)
	a := singleAnswer{envelope: env}
	if err != nil || !env.succeeded() {
		return a, err
	}
	var members map[string]json.RawMessage
	if env.data == nil || env.decodeData(&members) != nil {
		return a, errors.New("a success without data")
	}
	var flat, row struct {
		Action     looseText       `json:"action"`
		ID         looseText       `json:"id"`
		ExternalID looseText       `json:"external_id"`
		Source     looseText       `json:"external_source"`
		Error      json.RawMessage `json:"error"`
		DeletedAt  json.RawMessage `json:"deleted_at"`
	}
	if err := env.decodeData(&flat); err != nil {
		return a, err
	}
	a.action, a.record = string(flat.Action), readFault(flat.Error)
	if raw, ok := members[rowKey]; ok && json.Unmarshal(raw, &row) == nil && string(raw) != "null" {
		a.row = raw
	}
	agreed := func(name string, flat, row looseText) string {
		if flat != "" && row != "" && flat != row {
			a.confusion = fmt.Sprintf("the answer gives the %s as %.80q and, in its row, as %.80q", name, flat, row)
		}
		return cmpOr(string(row), string(flat))
	}
	a.id = agreed("id", flat.ID, row.ID)
	a.externalID = agreed("external_id", flat.ExternalID, row.ExternalID)
	a.source = agreed("external_source", flat.Source, row.Source)
	a.deleted = a.row != nil && len(row.DeletedAt) > 0 && string(row.DeletedAt) != "null"
	return a, nil
}

// strike removes the key from what errors may repeat.
func (a *singleAnswer) strike(redact func([]byte) []byte) {
	for _, text := range []*string{&a.action, &a.externalID, &a.source, &a.confusion} {
		*text = string(redact([]byte(*text)))
	}
	a.record.redact(redact)
}

const deletedComplaint = "the row was deleted on the server, which still says it synced it"

// judge tells what the answer proves about the record with the given key, and
// if it proves no success, why.
func (a *singleAnswer) judge(key Key, httpStatus int, ambiguous bool) (Status, string, string) {
	switch {
	case a.externalID != "" && a.externalID != key.ExternalID:
		return StatusUnknown, "", fmt.Sprintf("the answer speaks of another record, %.80q", a.externalID)
	case a.source != "" && a.source != key.Source:
		return StatusUnknown, "", fmt.Sprintf("the answer speaks of another source, %.80q", a.source)
	case a.confusion != "":
		return StatusUnknown, "", a.confusion
	case a.action == "error" || a.action == "failed":
		return StatusFailed, a.id, cmpOr(a.record.message, "the server gave no reason")
	case a.externalID == "" && a.id == "":
		return StatusUnknown, "", "the answer names no record"
	case a.deleted:
		return StatusFailed, a.id, deletedComplaint
	}
	status := actionStatus(a.action)
	switch {
	case a.record.told():
		return StatusUnknown, a.id, fmt.Sprintf("the answer says %.40q and gives an error: %s", a.action, cmpOr(a.record.message, a.record.code))
	case a.action == "" && a.row != nil:
		status = StatusSynced
	case status == StatusUnknown:
		return status, a.id, fmt.Sprintf("the answer's action is %.40q", a.action)
	case status == StatusCreated && httpStatus == http.StatusOK, status == StatusUpdated && httpStatus == http.StatusCreated:
		status = StatusSynced // status and action contradict each other on which
	}
	return afterAmbiguous(status, ambiguous), a.id, ""
}

// actionStatus reads the action that a server names.
func actionStatus(action string) Status {
	switch action {
	case "created":
		return StatusCreated
	case "updated":
		return StatusUpdated
	case "skipped", "unchanged":
		return StatusUnchanged
	case "synced":
		return StatusSynced
	default:
		return StatusUnknown
	}
}

// afterAmbiguous corrects an update that may be of the row which a lost
// attempt of the same call has created.
func afterAmbiguous(s Status, ambiguous bool) Status {
	if ambiguous && (s == StatusUpdated || s == StatusUnchanged) {
		return StatusSynced
	}
	return s
}

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
				a.success = &success
			}
		case "error":
			a.fault = readFault(d.value())
		case "data":
			a.hasData = d.dec.PeekKind() == '{'
			d.object(func(name string) { a.readData(&d, name) })
		default:
			d.value()
		}
	})
	if d.err == nil {
		if _, err := d.dec.ReadToken(); !errors.Is(err, io.EOF) {
			d.err = errors.New("more than one JSON value")
		}
	}
	switch {
	case d.err != nil:
		return a, d.err
	case a.succeeded() && !a.hasData:
		return a, errors.New("a success without data")
	}
	return a, nil
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
