package eryxontest

import (
	"hash/crc32"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Fault is one way in which a request can go wrong. The zero Fault is none.
// Most faults hit before the server has done anything; those that say so, and
// any after [Fault.After], hit when the records are written already.
type Fault struct {
	kind    faultKind
	after   bool
	status  int
	code    string
	message string
	body    string
	header  http.Header
	delay   time.Duration
	wait    time.Duration // before anything else
	n       int
}

type faultKind int

const (
	faultNone faultKind = iota
	faultAnswer
	faultEnvelope
	faultTooMany
	faultDelay
	faultClose
	faultCut
	faultStall
	faultTruncate
	faultSpoil
)

// Status answers with that status and a gateway's body: HTML, or plain text
// for 504 and 546. There is no envelope.
func Status(code int) Fault {
	return Answer(code, gatewayType(code), gatewayBody(code))
}

// StatusJSON answers with that status and the server's own error envelope. The
// loser of two first syncs of one record, for example, sees, with After, a 500
// INTERNAL_ERROR "duplicate key value violates unique constraint
// "idx_jobs_external_sync"".
func StatusJSON(status int, code, message string) Fault {
	return Fault{kind: faultEnvelope, status: status, code: code, message: message}
}

// Answer answers with exactly that status, header and body: for redirects and
// whatever else no other fault says.
func Answer(status int, header http.Header, body string) Fault {
	return Fault{kind: faultAnswer, status: status, header: header.Clone(), body: body}
}

// TooManyRequests answers 429 with the RATE_LIMIT_EXCEEDED envelope and that
// header, which may be nil. The request is not charged to the quota.
func TooManyRequests(header http.Header) Fault {
	return Fault{kind: faultTooMany, status: http.StatusTooManyRequests, header: header.Clone()}
}

// Delay makes the request wait for d, then does what it should. With After the
// records are written first and only the answer is late. The wait goes on even
// if the client gives up: the server does not notice.
func Delay(d time.Duration) Fault { return Fault{kind: faultDelay, delay: d} }

// CloseBefore closes the connection without an answer; nothing is written.
func CloseBefore() Fault { return Fault{kind: faultClose} }

// LoseAnswer writes the records, then closes the connection without an answer.
func LoseAnswer() Fault { return CloseBefore().After() }

// CloseMidAnswer writes the records, then closes the connection after half of
// the answer's body.
func CloseMidAnswer() Fault { return Fault{kind: faultCut, after: true} }

// StallMidAnswer writes the records, sends half of the answer's body, and the
// rest only after d.
func StallMidAnswer(d time.Duration) Fault {
	return Fault{kind: faultStall, delay: d, after: true}
}

// Truncate writes the records, then answers with the first n bytes of the body
// as if they were all of it.
func Truncate(n int) Fault { return Fault{kind: faultTruncate, n: n, after: true} }

// NotJSON writes the records, then answers 200 with HTML.
func NotJSON() Fault {
	return Answer(http.StatusOK, gatewayType(http.StatusOK), "<!DOCTYPE html><html><body>Welcome</body></html>").After()
}

// EmptyBody writes the records, then answers 200 with nothing.
func EmptyBody() Fault { return Answer(http.StatusOK, nil, "").After() }

// OmitRecord writes the records, then leaves the middle one out of the list in
// a bulk answer. The counts stay.
func OmitRecord() Fault { return spoil(spoilOmit) }

// RepeatRecord writes the records, then lists the first one twice in a bulk
// answer. The counts stay.
func RepeatRecord() Fault { return spoil(spoilRepeat) }

// InventRecord writes the records, then lists one more in a bulk answer, with
// the external id "INVENTED-1". The counts stay.
func InventRecord() Fault { return spoil(spoilInvent) }

// ContradictCounts writes the records, then adds one to the number of created
// ones in a bulk answer.
func ContradictCounts() Fault { return spoil(spoilCounts) }

func spoil(how int) Fault { return Fault{kind: faultSpoil, n: how, after: true} }

// After returns the fault that hits after the records have been written, where
// f would have hit before. It has no effect on the zero Fault and on faults
// that do so anyway.
func (f Fault) After() Fault {
	f.after = f.kind != faultNone && f.kind != faultTooMany
	return f
}

// WithDelay returns the fault that comes only after the request has waited for
// d: a gateway's 504 after 150 seconds, for one.
func (f Fault) WithDelay(d time.Duration) Fault {
	f.wait = d
	return f
}

// works says whether the request is worked off at all.
func (f Fault) works() bool {
	return f.after || f.kind == faultNone || f.kind == faultDelay
}

// instead is what goes back where a would have.
func (f Fault) instead(s *Server, c *call, a answer) answer {
	switch f.kind {
	case faultAnswer:
		return answer{status: f.status, header: f.header.Clone(), body: []byte(f.body)}
	case faultEnvelope:
		return s.fail(c, f.status, f.code, f.message)
	case faultTooMany:
		a := s.fail(c, f.status, "RATE_LIMIT_EXCEEDED", "Rate limit exceeded.")
		for name, values := range f.header {
			a.header[http.CanonicalHeaderKey(name)] = values
		}
		return a
	case faultClose:
		return answer{drop: true}
	case faultCut:
		a.cut = true
	case faultStall:
		a.stall = f.delay
	case faultTruncate:
		a.body = a.body[:min(max(f.n, 0), len(a.body))]
	case faultSpoil:
		a.body = spoilBody(a.body, f.n)
	}
	return a
}

func gatewayType(code int) http.Header {
	t := "text/html; charset=utf-8"
	if code == http.StatusGatewayTimeout || code == statusWorkerLimit {
		t = "text/plain; charset=utf-8"
	}
	return http.Header{"Content-Type": {t}}
}

// statusWorkerLimit is the hosting gateway's status for a worker that ran out
// of its resources.
const statusWorkerLimit = 546

func gatewayBody(code int) string {
	title := http.StatusText(code)
	switch {
	case code == statusWorkerLimit:
		return "Function failed due to not having enough compute resources"
	case code == http.StatusGatewayTimeout:
		return "upstream request timeout"
	case title == "":
		title = "Error"
	}
	line := strconv.Itoa(code) + " " + title
	return "<html>\r\n<head><title>" + line + "</title></head>\r\n<body>\r\n<center><h1>" + line +
		"</h1></center>\r\n</body>\r\n</html>\r\n"
}

// faultPlan is which request gets which fault.
type faultPlan struct {
	scripts []*script
	chaos   struct {
		seed   uint64
		below  uint64 // a request is hit if its number, 53 bits, is lower
		faults []Fault
		seen   map[uint64]uint64
	}
}

type script struct {
	suffix string
	faults []Fault
}

// Script gives the next len(faults) requests whose path ends in path one fault
// each, in order; a zero Fault lets its request pass. An empty path matches
// every request. Where several scripts match, the earliest that has faults
// left is used; a request that gets a fault of a script is spared by
// [Server.Chaos].
func (s *Server) Script(path string, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(faults) > 0 {
		s.faults.scripts = append(s.faults.scripts, &script{path, append([]Fault(nil), faults...)})
	}
}

// Chaos gives each request, with that probability (0 to 1), one of the faults.
// Which one depends on the seed, on the request's method, path and body, and
// on how often the same one has come before, so that concurrent requests fare
// the same in every run. No faults, or a probability of 0, end it.
func (s *Server) Chaos(seed uint64, probability float64, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.faults.chaos
	c.seed, c.faults = seed, append([]Fault(nil), faults...)
	c.below = uint64(min(max(probability, 0), 1) * (1 << 53))
	c.seen = map[uint64]uint64{}
}

// pickFault takes the fault for a request off the plan; s.mu is held.
func (s *Server) pickFault(c *call) Fault {
	p := &s.faults
	for i, sc := range p.scripts {
		if strings.HasSuffix(c.path, sc.suffix) {
			f := sc.faults[0]
			if sc.faults = sc.faults[1:]; len(sc.faults) == 0 {
				p.scripts = append(p.scripts[:i:i], p.scripts[i+1:]...)
			}
			return f
		}
	}
	ch := &p.chaos
	if len(ch.faults) == 0 || ch.below == 0 {
		return Fault{}
	}
	sum := uint64(crc32.ChecksumIEEE([]byte(c.method+" "+c.path)))<<32 | uint64(crc32.ChecksumIEEE(c.body))
	ch.seen[sum]++
	roll := mix(ch.seed ^ mix(sum) ^ ch.seen[sum]<<1)
	if roll>>11 >= ch.below {
		return Fault{}
	}
	return ch.faults[mix(roll)%uint64(len(ch.faults))]
}
