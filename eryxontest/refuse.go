package eryxontest

import (
	"net/http"
	"strconv"
)

// refusals is what the server refuses by order of the test.
type refusals struct {
	records    map[Key]string // FailRecord; Source is empty
	whole      *refusal
	maxRecords int
	maxBytes   int
	overRecord int // the status
	overBytes  int
	maxLookUp  int
	noCreates  [5]bool
}

// refusal is why a record, or a request, is not carried out.
type refusal struct {
	status  int
	code    string
	message string
	details string // JSON, or ""
}

func refuse(status int, code, message string) *refusal {
	return &refusal{status: status, code: code, message: message}
}

// refused is the error envelope of a refusal.
func (s *Server) refused(c *call, r *refusal) answer {
	more := ""
	if r.details != "" {
		more = `,"details":` + r.details
	}
	return s.failWith(c, r.status, r.code, r.message, more)
}

// FailRecord makes the record of that external id fail, whatever its source:
// with the message as its error in a bulk, and in a single sync with an error
// envelope that carries it. An empty message ends it.
func (s *Server) FailRecord(e Entity, externalID, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refusals.records == nil {
		s.refusals.records = map[Key]string{}
	}
	k := Key{Entity: e, ExternalID: externalID}
	if message == "" {
		delete(s.refusals.records, k)
		return
	}
	s.refusals.records[k] = message
}

// ordered is the failure that a test has ordered for a record, or nil.
func (s *Server) ordered(e Entity, externalID string) *refusal {
	if len(s.refusals.records) == 0 {
		return nil
	}
	message, ok := s.refusals.records[Key{Entity: e, ExternalID: externalID}]
	switch {
	case !ok:
		return nil
	case s.cfg.release == Documented:
		return refuse(http.StatusBadRequest, "VALIDATION_ERROR", message)
	}
	return refuse(http.StatusInternalServerError, "INTERNAL_ERROR", message)
}

// RefuseWhole makes a bulk-sync that holds any record that fails be refused as
// a whole with that answer; it then writes nothing. A status of 0 ends it.
func (s *Server) RefuseWhole(status int, code, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals.whole = nil
	if status != 0 {
		s.refusals.whole = refuse(status, code, message)
	}
}

// RefuseOverRecords answers every request of more than n records with that
// status, in a gateway's words, and writes nothing. An n of 0 ends it.
func (s *Server) RefuseOverRecords(n, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals.maxRecords, s.refusals.overRecord = n, status
}

// RefuseOverBytes answers every request whose body is longer than n bytes with
// that status, in a gateway's words, and writes nothing. An n of 0 ends it.
func (s *Server) RefuseOverBytes(n, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals.maxBytes, s.refusals.overBytes = n, status
}

// RefuseLongLookUps makes the gateway in front of the database refuse every
// look-up whose external ids take more than n bytes of its URL, encoded and
// with the commas between them. The releases in the field look the records of
// the unified endpoint up that way, and parents there and in a bulk-sync of
// [V01]. They take such a refusal for an answer without rows: a diff says
// "create", a sync inserts what exists, parents are missing. An n of 0 ends it.
func (s *Server) RefuseLongLookUps(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals.maxLookUp = n
}

func (s *Server) tooLarge(c *call) (answer, bool) {
	r := &s.refusals
	switch {
	case r.maxRecords > 0 && c.records > r.maxRecords:
		return Status(r.overRecord).instead(s, c, answer{}), true
	case r.maxBytes > 0 && len(c.body) > r.maxBytes:
		return Status(r.overBytes).instead(s, c, answer{}), true
	}
	return answer{}, false
}

// RevokeKey makes the server answer every request 401, until RestoreKey.
func (s *Server) RevokeKey() { s.setRevoked(true) }

// RestoreKey makes the server accept its key again.
func (s *Server) RestoreKey() { s.setRevoked(false) }

func (s *Server) setRevoked(revoked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked = revoked
}

// SetQuotaExceeded says whether the tenant's plan allows no more rows of the
// entity. While it does not, a single sync or a bulk that would create one is
// answered 402 QUOTA_EXCEEDED and writes nothing; updates pass. [V08],
// [V08AsMigrated] and [V011] do not enforce plan limits on syncs.
func (s *Server) SetQuotaExceeded(e Entity, exceeded bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := e.index(); i >= 0 {
		s.refusals.noCreates[i] = exceeded
	}
}

// planLimit refuses records of which one would be created although the plan
// allows no more.
func (s *Server) planLimit(e Entity, records []any) *refusal {
	if !s.refusals.noCreates[e.index()] {
		return nil
	}
	for _, v := range records {
		m, _ := v.(map[string]any)
		k := keyOf(m)
		if k.ext == "" || s.find(e, k) != nil {
			continue
		}
		n := strconv.Itoa(len(s.tables[e.index()].rows))
		r := refuse(http.StatusPaymentRequired, "QUOTA_EXCEEDED", e.singular()+" limit exceeded ("+n+"/"+n+")")
		r.details = `{"limitType":"` + e.singular() + `","currentUsage":` + n + `,"limit":` + n + `}`
		return r
	}
	return nil
}
