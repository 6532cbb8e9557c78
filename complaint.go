package eryxon

import (
	"net/http"
	"regexp"
	"strings"
	"unicode"
)

// complaint is what can be read out of a server's own words about one record
// or request.
type complaint struct {
	kind  error
	field string
}

var (
	reMissingField = regexp.MustCompile(`^([a-z_]+)(?: and [a-z_]+)? (?:is|are) required\b`)
	reBadField     = regexp.MustCompile(`(?i)^invalid (?:date format for )?([a-z]+(?:_[a-z]+)+|quantity|status|type|color|priority|sequence)\b`)
	reNotNull      = regexp.MustCompile(`null value in column "([^"]+)".* violates not-null constraint`)
	reNoColumn     = regexp.MustCompile(`Could not find the '([^']+)' column of '[^']+' in the schema cache`)
	reNotWritable  = regexp.MustCompile(`^Field (\S+) is not writable`)
	reNoReference  = regexp.MustCompile(`^((?:job|part|cell)_id) does not reference a record`)
	reNoColumnPG   = regexp.MustCompile(`column "?([A-Za-z0-9_]+)"? of relation "?[A-Za-z0-9_]+"? does not exist`)
	reDuplicate    = regexp.MustCompile(`duplicate key value violates unique constraint "?([A-Za-z0-9_]*)`)
	reNoParent     = regexp.MustCompile(`^(job|part|cell)_id or (?:valid )?((?:job|part)_external_id|cell_name)(?: is)? required|^(Job|Part|Cell) with (?:external_id|name) .* not found`)
	reForeignKey   = regexp.MustCompile(`violates foreign key constraint "?([A-Za-z0-9_]*)`)
	reBadValue     = regexp.MustCompile(`invalid input (?:syntax for type|value for enum)|out of range for type|violates check constraint|date/time field value out of range`)
	reTooMany      = regexp.MustCompile(`^Maximum (\d+) [a-z]+ per bulk-sync request`)
	reSyncPrefix   = regexp.MustCompile(`^Failed to sync [a-z]+: `)
)

// understand reads the texts of observed servers. A text that it does not know
// has no kind; that is not an error.
func understand(message string) complaint {
	message = reSyncPrefix.ReplaceAllString(message, "")
	if m := reNoParent.FindStringSubmatch(message); m != nil {
		if m[2] != "" {
			return complaint{ErrParentNotFound, m[2]}
		}
		return complaint{ErrParentNotFound, ""}
	}
	if m := reMissingField.FindStringSubmatch(message); m != nil {
		return complaint{ErrValidation, m[1]}
	}
	if m := reNotNull.FindStringSubmatch(message); m != nil {
		return complaint{ErrValidation, m[1]}
	}
	if m := reNoColumn.FindStringSubmatch(message); m != nil {
		return complaint{ErrMissingColumn, m[1]}
	}
	if m := reNotWritable.FindStringSubmatch(message); m != nil {
		return complaint{ErrMissingColumn, m[1]}
	}
	if m := reNoReference.FindStringSubmatch(message); m != nil {
		return complaint{ErrParentNotFound, m[1]}
	}
	if m := reNoColumnPG.FindStringSubmatch(message); m != nil {
		return complaint{ErrMissingColumn, m[1]}
	}
	if m := reDuplicate.FindStringSubmatch(message); m != nil {
		if isExternalKeyConstraint(m[1]) {
			return complaint{ErrConflict, "external_id"}
		}
		return complaint{ErrNaturalKeyTaken, ""}
	}
	if reForeignKey.MatchString(message) {
		return complaint{ErrParentNotFound, ""}
	}
	if m := reBadField.FindStringSubmatch(message); m != nil {
		return complaint{ErrValidation, m[1]}
	}
	if reBadValue.MatchString(message) {
		return complaint{ErrValidation, ""}
	}
	return complaint{}
}

// isExternalKeyConstraint tells the key (source, external id) from natural
// keys by the name that servers give its index, idx_*_external_sync.
func isExternalKeyConstraint(name string) bool { return strings.Contains(name, "external") }

// understood is what a record's fault says: by its details, its text, its code.
func (f *fault) understood() complaint {
	said := understand(f.message)
	switch {
	case len(f.details) > 0:
		return complaint{ErrValidation, cmpOr(f.details[0].Field, said.field)}
	case said.kind == nil:
		said.kind = codeKind(f.code)
	}
	return said
}

// isDuplicateExternalKey reports the text of a lost race between two first
// syncs, and of a row that was deleted on the server.
func isDuplicateExternalKey(message string) bool {
	m := reDuplicate.FindStringSubmatch(message)
	return m != nil && isExternalKeyConstraint(m[1])
}

// statusKinds classes an HTTP status where the server's own words do not.
func statusKind(status int) error {
	switch status {
	case http.StatusUnauthorized:
		return ErrUnauthorized
	case http.StatusPaymentRequired:
		return ErrQuotaExceeded
	case http.StatusForbidden:
		return ErrForbidden
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return ErrNotFound
	case http.StatusConflict:
		return ErrConflict
	case http.StatusRequestEntityTooLarge:
		return ErrTooLarge
	case http.StatusTooManyRequests:
		return ErrRateLimited
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return ErrTimeout
	}
	if status >= 500 {
		return ErrServer
	}
	return nil
}

// codeKind classes the server's error codes, for answers whose status says
// nothing, such as success:false on a 200.
func codeKind(code string) error {
	switch code {
	case "UNAUTHORIZED":
		return ErrUnauthorized
	case "FORBIDDEN":
		return ErrForbidden
	case "QUOTA_EXCEEDED", "PAYMENT_REQUIRED":
		return ErrQuotaExceeded
	case "RATE_LIMIT_EXCEEDED":
		return ErrRateLimited
	case "NOT_FOUND":
		return ErrNotFound
	case "CONFLICT":
		return ErrConflict
	case "VALIDATION_ERROR":
		return ErrValidation
	}
	return nil
}

// printable makes a server's text fit for one line of a log.
func printable(s string) string {
	const limit = 500
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > limit {
		cut := limit
		for cut > 0 && s[cut]&0xC0 == 0x80 {
			cut--
		}
		s = s[:cut] + "…"
	}
	return s
}
