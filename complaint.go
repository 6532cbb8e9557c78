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
	reNotNull      = regexp.MustCompile(`null value in column "([^"]+)".* violates not-null constraint`)
	reDuplicate    = regexp.MustCompile(`duplicate key value violates unique constraint "?([A-Za-z0-9_]*)`)
	reNatural      = regexp.MustCompile(`job_number|part_number|(?:operation_)?name`)
	reNoParent     = regexp.MustCompile(`^(?:job|part|cell)_id or (?:valid )?((?:job|part)_external_id|cell_name)(?: is)? required|^(Job|Part|Cell) with (external_id|name|id) .* not found`)
	reForeignKey   = regexp.MustCompile(`violates foreign key constraint(?: "?[a-z]+_(\w+)_fkey)?`)
	reParentID     = regexp.MustCompile(`(?:^|_)(?:job|part|cell)_id$`)
	reTooMany      = regexp.MustCompile(`^Maximum (\d+) [a-z]+ per bulk-sync request`)
	reNoRow        = regexp.MustCompile(`JSON object requested, multiple \(or no\) rows returned|Cannot coerce the result to a single JSON object`)
	reUnwritable   = regexp.MustCompile(`^Field (\S+) is not writable`)
	reSyncPrefix   = regexp.MustCompile(`^Failed to sync [a-z]+: `)
)

// texts are what servers say that needs no more than to be recognised; the first
// that fits counts. The field is what the expression captures.
var texts = []struct {
	re   *regexp.Regexp
	kind error
}{
	{reMissingField, ErrValidation},
	{regexp.MustCompile(`^Missing required (?:fields|[a-z]+ field: ([a-z_]+))`), ErrValidation},
	{reNotNull, ErrValidation},
	{regexp.MustCompile(`Could not find the '([^']+)' column of '[^']+' in the schema cache`), ErrMissingColumn},
	{reUnwritable, ErrMissingColumn},
	{regexp.MustCompile(`^((?:job|part|cell)_id) does not reference a record`), ErrParentNotFound},
	{regexp.MustCompile(`column (?:"?\w+"?\.)?"?(\w+)"? (?:of relation "?\w+"? )?does not exist`), ErrMissingColumn},
	{regexp.MustCompile(`(?i)^invalid (?:date format for )?([a-z]+(?:_[a-z]+)+|quantity|status|type|color|priority|sequence)\b`), ErrValidation},
	{regexp.MustCompile(`cannot insert a non-DEFAULT value into column "(\w+)"|column "(\w+)" can only be updated to DEFAULT`), ErrValidation},
	{regexp.MustCompile(`invalid input (?:syntax for type|value for enum)|invalid byte sequence for encoding|unsupported Unicode escape sequence|malformed array literal|` +
		`value too long for type|numeric field overflow|\bout of range\b|violates check constraint`), ErrValidation},
	// These pass, and the same record is taken another time.
	{regexp.MustCompile(`deadlock detected|could not serialize access|canceling statement due to|too many connections|too many clients already|remaining connection slots|TypeError: fetch failed`), ErrServer},
}

// understand reads the texts of observed servers. A text that it does not know
// has no kind; that is not an error.
func understand(message string) complaint {
	message = reSyncPrefix.ReplaceAllString(message, "")
	if m := reNoParent.FindStringSubmatch(message); m != nil {
		return complaint{ErrParentNotFound, cmpOr(m[1], strings.ToLower(m[2])+"_"+m[3])}
	}
	if m := reDuplicate.FindStringSubmatch(message); m != nil {
		field := reNatural.FindString(m[1])
		switch {
		case isExternalKeyConstraint(m[1]):
			return complaint{ErrConflict, "external_id"}
		case field != "":
			return complaint{ErrNaturalKeyTaken, field}
		default:
			return complaint{ErrConflict, ""}
		}
	}
	if m := reForeignKey.FindStringSubmatch(message); m != nil {
		if m[1] != "" && !reParentID.MatchString(m[1]) {
			return complaint{ErrValidation, m[1]}
		}
		return complaint{ErrParentNotFound, m[1]}
	}
	for _, text := range texts {
		if m := text.re.FindStringSubmatch(message); m != nil {
			return complaint{text.kind, strings.Join(m[1:], "")} // one group at most has captured anything
		}
	}
	return complaint{}
}

// understood is what a record's fault says: by its details, its text, its code.
func (f *fault) understood() complaint {
	said := understand(f.message)
	switch {
	case len(f.details) > 0 && f.details[0].Field != "":
		return complaint{ErrValidation, cmpOr(f.details[0].Field, said.field)}
	case said.kind == nil:
		said.kind = codeKind(f.code)
	}
	return said
}

// isExternalKeyConstraint tells the key (source, external id) from natural
// keys by the name that servers give its index, idx_*_external_sync.
func isExternalKeyConstraint(name string) bool { return strings.Contains(name, "external") }

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
