package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/eryxon/eryxon-go"
)

// null is what a cell says to clear a field on the server. An empty cell
// leaves the field alone.
const null = `\N`

// value is the text of a cell that is not empty.
type value struct {
	text      string
	semicolon bool // in a file of semicolons the comma is the decimal mark
}

func (v value) string() (string, error) { return v.text, nil }

func (v value) date() (eryxon.Date, error) {
	d, err := eryxon.ParseDate(strings.TrimSpace(v.text))
	if err != nil {
		return d, errors.New(strings.TrimPrefix(err.Error(), "eryxon: "))
	}
	return d, nil
}

func (v value) bool() (bool, error) {
	switch strings.ToLower(strings.TrimSpace(v.text)) {
	case "true", "yes", "1":
		return true, nil
	case "false", "no", "0":
		return false, nil
	}
	return false, fmt.Errorf("%.40q is not a yes or no: want true, false, yes, no, 1 or 0", v.text)
}

var (
	reWhole    = regexp.MustCompile(`^-?\d+$`)
	reNumber   = regexp.MustCompile(`^-?\d+([.,]\d+)?$`)
	reThousand = regexp.MustCompile(`^-?[1-9]\d{0,2}\.\d{3}$`)
)

func (v value) int() (int, error) {
	text := strings.TrimSpace(v.text)
	if !reWhole.MatchString(text) {
		return 0, fmt.Errorf("%.40q is not a whole number: want digits only", v.text)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("%.40q is too large a number", v.text)
	}
	return n, nil
}

func (v value) float() (float64, error) {
	text := strings.TrimSpace(v.text)
	switch {
	case !reNumber.MatchString(text) || !v.semicolon && strings.Contains(text, ","):
		example := "12.5"
		if v.semicolon {
			example = "12,5 or 12.5"
		}
		return 0, fmt.Errorf("%.40q is not a number: want one such as %s, without thousands separators", v.text, example)
	case v.semicolon && reThousand.MatchString(text):
		return 0, fmt.Errorf("%.40q may be %s or %s: leave the thousands separator out, or use a decimal comma",
			v.text, strings.Replace(text, ".", "", 1), strings.Replace(text, ".", ",", 1))
	}
	f, err := strconv.ParseFloat(strings.Replace(text, ",", ".", 1), 64)
	if err != nil {
		return 0, fmt.Errorf("%.40q is too large a number", v.text)
	}
	return f, nil
}
