package eryxon

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

type optState uint8

const (
	optUnset optState = iota
	optNull
	optValue
)

// Opt is an optional field of a record: unset, null, or a value.
//
// The zero Opt is unset: the field is left out of the request, and a server
// that keeps what it is not sent leaves the stored value alone. [Null] asks
// the server to clear the field. [Some] sends a value, the zero value of T
// included.
//
// In a struct of your own, tag the field `json:"name,omitzero"` so that an
// unset Opt is left out there too.
type Opt[T any] struct {
	value T
	state optState
}

// Some returns an Opt that holds v, also where v is the zero value of T.
func Some[T any](v T) Opt[T] { return Opt[T]{value: v, state: optValue} }

// Null returns an Opt that clears the field on the server.
func Null[T any]() Opt[T] { return Opt[T]{state: optNull} }

// Get returns the value and true, or the zero value of T and false where o is
// unset or null.
func (o Opt[T]) Get() (T, bool) { return o.value, o.state == optValue }

// Or returns the value, or fallback where o is unset or null.
func (o Opt[T]) Or(fallback T) T {
	if o.state == optValue {
		return o.value
	}
	return fallback
}

// IsSet reports whether o is sent at all: it holds a value or null.
func (o Opt[T]) IsSet() bool { return o.state != optUnset }

// IsNull reports whether o is null.
func (o Opt[T]) IsNull() bool { return o.state == optNull }

// String returns the value as fmt prints it, "null", or "unset".
func (o Opt[T]) String() string {
	switch o.state {
	case optNull:
		return "null"
	case optValue:
		return fmt.Sprint(o.value)
	default:
		return "unset"
	}
}

// MarshalJSON returns the value's JSON, or null where o is null or unset; tag
// the field with omitzero to leave an unset Opt out.
func (o Opt[T]) MarshalJSON() ([]byte, error) {
	if o.state != optValue {
		return []byte("null"), nil
	}
	return json.Marshal(o.value)
}

// UnmarshalJSON reads null as [Null] and anything else as a value of T.
func (o *Opt[T]) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*o = Null[T]()
		return nil
	}
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	*o = Some(v)
	return nil
}

// Date is a civil date without time or zone, as the API's due dates are. Make
// one with [NewDate], [DateOf] or [ParseDate]. The zero Date is not valid.
type Date struct {
	year  int16
	month uint8
	day   uint8
}

// NewDate returns the date with the given parts. It does not normalise: a day
// that does not exist (30 February) makes a date that is not valid, which the
// local rules refuse before anything is sent.
func NewDate(year int, month time.Month, day int) Date {
	if year < 1 || year > 9999 || month < time.January || month > time.December || day < 1 || day > 31 {
		return Date{}
	}
	return Date{year: int16(year), month: uint8(month), day: uint8(day)}
}

// DateOf returns the date of t in t's own location.
func DateOf(t time.Time) Date { return NewDate(t.Date()) }

// ParseDate reads a date of the form YYYY-MM-DD. It refuses anything else: an
// empty string, 31/12/2024, a time of day, and days that do not exist such as
// 2025-02-30.
func ParseDate(s string) (Date, error) {
	if s == "" {
		return Date{}, errors.New("eryxon: empty date: want YYYY-MM-DD, or leave the field unset")
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil || t.Year() < 1 {
		return Date{}, fmt.Errorf("eryxon: %.40q is not a date: want YYYY-MM-DD and a day that exists", s)
	}
	return DateOf(t), nil
}

// parseTime reads a point in time as servers and their databases print it: ISO
// 8601, also with a space before the time, and with hours alone for the zone.
// Without a zone it is UTC.
func parseTime(s string) (t time.Time, err error) {
	if len(s) > len(time.DateOnly) && s[len(time.DateOnly)] == ' ' {
		s = s[:len(time.DateOnly)] + "T" + s[len(time.DateOnly)+1:]
	}
	for _, zone := range []string{"Z07:00", "Z07", "Z0700", ""} {
		if t, err = time.Parse("2006-01-02T15:04:05"+zone, s); err == nil {
			return t, nil
		}
	}
	return t, err
}

// Year returns the year, 1 to 9999.
func (d Date) Year() int { return int(d.year) }

// Month returns the month.
func (d Date) Month() time.Month { return time.Month(d.month) }

// Day returns the day of the month.
func (d Date) Day() int { return int(d.day) }

// Time returns the first moment of d in loc.
func (d Date) Time(loc *time.Location) time.Time {
	return time.Date(int(d.year), time.Month(d.month), int(d.day), 0, 0, 0, 0, loc)
}

// IsValid reports whether d is a day that exists, in the years 1 to 9999.
func (d Date) IsValid() bool {
	return d.year >= 1 && d.month >= 1 && d.day >= 1 && DateOf(d.Time(time.UTC)) == d
}

// compare returns a negative number where d is before other.
func (d Date) compare(other Date) int {
	return cmp.Or(cmp.Compare(d.year, other.year), cmp.Compare(d.month, other.month), cmp.Compare(d.day, other.day))
}

// String returns d as YYYY-MM-DD.
func (d Date) String() string { return string(d.append(nil)) }

func (d Date) append(b []byte) []byte {
	y := int(d.year)
	return append(b,
		byte('0'+y/1000), byte('0'+y/100%10), byte('0'+y/10%10), byte('0'+y%10), '-',
		'0'+d.month/10, '0'+d.month%10, '-',
		'0'+d.day/10, '0'+d.day%10)
}

// MarshalText returns YYYY-MM-DD, or an error where d is not valid.
func (d Date) MarshalText() ([]byte, error) {
	if !d.IsValid() {
		return nil, fmt.Errorf("eryxon: %s is not a day that exists", d)
	}
	return d.append(nil), nil
}

// UnmarshalText reads what [ParseDate] reads.
func (d *Date) UnmarshalText(text []byte) error {
	parsed, err := ParseDate(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}
