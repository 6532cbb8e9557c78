package eryxon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
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
		f.details = readComplaints(raw)
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

// readComplaints reads a list of complaints.
func readComplaints(raw []byte) []FieldError {
	var details []FieldError
	_ = json.Unmarshal(raw, &details) // passes over members of another type
	return slices.DeleteFunc(details, func(d FieldError) bool { return d.Field == "" && d.Message == "" })
}

// readDetails reads complaints: a list of them, one alone, texts, or texts by field. A
// plan limit's details are an object, too, and none; so are a database's.
func readDetails(raw []byte) []FieldError {
	details := readComplaints(raw)
	var one FieldError
	var byField map[string]json.RawMessage
	switch {
	case len(details) > 0:
	case json.Unmarshal(raw, &one) == nil && one.Field != "":
		details = []FieldError{one}
	case json.Unmarshal(raw, &byField) == nil:
		if byField["code"] != nil || byField["hint"] != nil {
			return nil
		}
		for _, field := range slices.Sorted(maps.Keys(byField)) {
			texts := readTexts(byField[field])
			if texts == nil {
				return nil
			}
			details = append(details, FieldError{Field: field, Message: strings.Join(texts, "; ")})
		}
	default:
		for _, text := range readTexts(raw) {
			details = append(details, FieldError{Message: text})
		}
	}
	return details
}

// readTexts reads a text or a list of texts; nil where it is neither.
func readTexts(raw []byte) (texts []string) {
	var text string
	if json.Unmarshal(raw, &texts) == nil {
		return texts
	}
	if json.Unmarshal(raw, &text) == nil && text != "" {
		return []string{text}
	}
	return nil
}

// unmarshal is json.Unmarshal with io.ErrUnexpectedEOF for a body cut short.
func unmarshal(body []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	var other *json.UnmarshalTypeError
	switch err := dec.Decode(v); {
	case errors.As(err, &other): // its own text is about types of Go
		return fmt.Errorf("%s is a JSON %s", cmpOr(other.Field, "it"), other.Value)
	case err != nil:
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
