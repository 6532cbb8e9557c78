package eryxon

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// checker collects what the local rules complain about. The zero checker is
// ready; without a complaint it allocates nothing.
type checker struct {
	carrier *checker // of a nested record: where its complaints go
	list    string   // that the nested record is in
	index   int
	details []FieldError
}

func (c *checker) complain(field, constraint, message string, value any) {
	if c.carrier != nil {
		c.carrier.complain(fmt.Sprintf("%s[%d].%s", c.list, c.index, field), constraint, message, value)
		return
	}
	c.details = append(c.details, FieldError{Field: field, Message: message, Constraint: constraint, Value: value})
}

// err returns the complaints as a local *ValidationError, or nil.
func (c *checker) err(index int, key Key) error {
	if len(c.details) == 0 {
		return nil
	}
	for i := range c.details {
		c.details[i].EntityIndex = index
	}
	first := c.details[0]
	return &ValidationError{
		Code: "VALIDATION_ERROR", Message: first.Field + " " + first.Message, Field: first.Field,
		Details: c.details, Local: true, Index: index, Key: key,
	}
}

// required demands a value and that it can be written.
func (c *checker) required(field, s string) {
	if s == "" {
		c.complain(field, "NOT_NULL", "is required", nil)
	}
}

// text demands what a database column of text can hold.
func (c *checker) text(field, s string) {
	if !utf8.ValidString(s) {
		c.complain(field, "UTF8", notUTF8, nil)
	} else if strings.IndexByte(s, 0) >= 0 {
		c.complain(field, "UTF8", "holds a NUL character, which no text column takes: remove it", nil)
	}
}

func (c *checker) optText(field string, o Opt[string]) { c.text(field, o.value) }

func (c *checker) optDate(field string, o Opt[Date]) {
	if d, ok := o.Get(); ok && !d.IsValid() {
		c.complain(field, "DATE_FORMAT", "is not a day that exists: want YYYY-MM-DD", d.String())
	}
}

func (c *checker) atLeast(field string, o Opt[int], least int) {
	if n, ok := o.Get(); ok && n < least {
		c.complain(field, "MINIMUM", fmt.Sprintf("is %d: want at least %d", n, least), n)
	}
}

func (c *checker) optFloat(field string, o Opt[float64]) {
	if f, ok := o.Get(); ok && (math.IsNaN(f) || math.IsInf(f, 0) || f < 0) {
		c.complain(field, "NUMBER", fmt.Sprintf("is %v: want a number of 0 or more", f), nil)
	}
}

// extra demands that no extra column hides a field of the record, and that all
// of them can be written.
func (c *checker) extra(extra map[string]any, table map[string]int) {
	if len(extra) == 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		if _, known := table[name]; known {
			c.complain("Extra["+name+"]", "UNIQUE", extraIsField, nil)
			continue
		}
		if why := notForRecords(name); why != "" {
			c.complain("Extra["+name+"]", "READ_ONLY", why, nil)
			continue
		}
		c.text("Extra["+name+"]", name)
		raw, err := json.Marshal(extra[name])
		switch {
		case err != nil:
			c.complain("Extra["+name+"]", "JSON", "can't be written as JSON: "+printable(err.Error()), nil)
		case !utf8.Valid(raw):
			c.text("Extra["+name+"]", string(raw))
		default:
			c.extraText("Extra["+name+"]", extra[name])
		}
	}
}

// notForRecords is why no record may give a column of that name; "" where one may. What
// the server keeps for itself it drops without a word, overwrites, or takes for another
// tenant's.
func notForRecords(column string) string {
	switch column {
	case "":
		return "has no name: give the column's"
	case "id", "tenant_id", "created_at", "updated_at", "synced_at", "sync_hash", "deleted_at", "deleted_by":
		return "is a column that the server keeps for itself: leave it out"
	}
	return ""
}

// extraText demands of the texts in an extra column what text does: JSON
// packages replace what is not UTF-8 without a word.
func (c *checker) extraText(field string, v any) {
	switch v := v.(type) {
	case string:
		c.text(field, v)
	case []string:
		for _, s := range v {
			c.text(field, s)
		}
	case []any:
		for _, e := range v {
			c.extraText(field, e)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			c.text(field, name)
			c.extraText(field, v[name])
		}
	}
}

// checkRecord applies the local rules to a record that is to be sent.
func checkRecord[R any, P recordPtr[R]](c *checker, r P, source string) {
	c.required("external_id", r.recordKey("").ExternalID)
	if r.recordKey(source).Source == "" {
		c.complain("external_source", "NOT_NULL", "is required: set ExternalSource, or give the client WithSource", nil)
	}
	r.rules(c)
	r.values(c)
}

// within is a checker for a nested record, whose complaints join c's.
func (c *checker) within(list string, i int) *checker {
	return &checker{carrier: c, list: list, index: i}
}

// belongs demands that a nested record names no carrier by its row's id.
func (c *checker) belongs(field, id string) {
	if id != "" {
		c.complain(field, "NESTED", fmt.Sprintf("is %q, but the record belongs to the one it is nested in: leave it empty or sync it on its own", id), id)
	}
}

// inherits demands that a nested record says nothing else than its carrier.
func (c *checker) inherits(field, own, carrier string) {
	if own != "" && carrier != "" && own != carrier {
		c.complain(field, "NESTED", fmt.Sprintf("is %q, but the record it is nested in says %q: leave it empty or sync it on its own", own, carrier), own)
	}
}

const (
	notUTF8      = "is not valid UTF-8: convert it from the ERP's code page first"
	extraIsField = "is a field of the record: set it there"
)
