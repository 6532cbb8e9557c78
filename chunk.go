package eryxon

// maxRecords is the documented limit of records in a bulk request.
const maxRecords = 1000

// chunk is the records of one bulk request. Servers answer by external id
// alone, so a chunk never holds the same one twice, not even of two sources.
type chunk[R any] struct {
	entity Entity
	sent   []sentRecord[R]
	body   []byte         // the records' JSON, one after the other
	ids    map[string]int // places in sent by external id
	dead   int            // superseded records
	nested map[entityKey]struct{}
}

// sentRecord is a record as it went into a chunk.
type sentRecord[R any] struct {
	record       R
	key          Key
	index        int // in the input
	start, end   int // of its JSON in the chunk's body
	nested       []Outcome
	own          []byte     // its JSON where that is not the chunk's
	memory       *memory[R] // what the state has of it, nil without a state
	before       diffRecord // what the unified endpoint said of it, as it is sent
	place        int        // on the board, of a new cell that gives none
	updated      Status     // what an update of it is, after a request that may have made its row
	superseded   bool
	vetted       bool // it was found to be new, so there is nothing to overwrite
	relinked     bool // its parents' ids were asked for again
	maybeWritten bool // an earlier request, which the delivery does not know of, may have written it
	mayBeRemade  bool // its row was there, and one of those that it went with was made anew
	remade       bool // it was its own
	suspect      bool // some of the records that it went with were lost
	isNew        bool // it is known to have no row, and goes with all that one can't do without
	pinned       bool // it names its parent by an id that it was not given
	lifted       bool // what it carries goes after it, on its own
	owes         bool // and has not gone yet
}

// given returns the record as the caller gave it: less of it may be sent.
func (s *sentRecord[R]) given() R {
	if s.memory != nil && s.memory.given != nil {
		return *s.memory.given
	}
	return s.record
}

// alone returns the record without what goes after it.
func (s *sentRecord[R]) alone() R {
	r := s.record
	if s.lifted {
		leaveNested(&r)
	}
	return r
}

func newChunk[R any](e Entity) *chunk[R] {
	return &chunk[R]{entity: e, ids: make(map[string]int)}
}

// reset empties the chunk for other records. Nothing refers to its memory any
// more: requests and outcomes hold copies.
func (c *chunk[R]) reset() {
	clear(c.sent)
	clear(c.ids)
	c.sent, c.body, c.dead, c.nested = c.sent[:0], c.body[:0], 0, nil
}

// add encodes a record into the chunk, unless that would take the request over
// maxBytes. On an error, or where it returns false, the chunk is as before.
func add[R any, P recordPtr[R]](c *chunk[R], r P, key Key, index int, source string, maxBytes int) (bool, error) {
	start := len(c.body)
	body, err := r.appendJSON(c.body, source)
	c.body = body
	if err != nil || requestSize(c.entity, len(body), len(c.sent)+1) > maxBytes {
		c.body = c.body[:start]
		return false, err
	}
	c.ids[key.ExternalID] = len(c.sent)
	c.sent = append(c.sent, sentRecord[R]{record: *r, key: key, index: index, start: start, end: len(body), nested: r.nested(source)})
	for _, n := range c.sent[len(c.sent)-1].nested {
		if c.nested == nil {
			c.nested = make(map[entityKey]struct{})
		}
		c.nested[entityKey{n.Entity, n.Key}] = struct{}{}
	}
	return true, nil
}

// requestSize is the exact size in bytes of a request of n records whose JSON
// takes the given number of bytes.
func requestSize(e Entity, bytes, n int) int {
	return len(`{"":[]}`) + len(e) + bytes + max(0, n-1)
}

// live lists the records that are to be sent.
func (c *chunk[R]) live() []*sentRecord[R] {
	list := make([]*sentRecord[R], 0, len(c.sent))
	for i := range c.sent {
		if !c.sent[i].superseded {
			list = append(list, &c.sent[i])
		}
	}
	return list
}

// json returns the record as it is sent.
func (c *chunk[R]) json(s *sentRecord[R]) []byte {
	if s.own != nil {
		return s.own
	}
	return c.body[s.start:s.end]
}

// request returns the body of a bulk request of some of the records.
func (c *chunk[R]) request(list []*sentRecord[R]) []byte {
	size := 0
	for _, s := range list {
		size += len(c.json(s))
	}
	b := make([]byte, 0, requestSize(c.entity, size, len(list)))
	b = append(append(append(b, `{"`...), c.entity...), `":`...)
	return append(c.appendArray(b, list), '}')
}

// appendArray appends some of the records as a JSON array.
func (c *chunk[R]) appendArray(b []byte, list []*sentRecord[R]) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, c.json(s)...)
	}
	return append(b, ']')
}

// holds and each make the chunk a keyHolder.
func (c *chunk[R]) holds(k entityKey) bool {
	if k.entity == c.entity {
		if at, ok := c.ids[k.key.ExternalID]; ok && c.sent[at].key == k.key {
			return true
		}
	}
	_, ok := c.nested[k]
	return ok
}

func (c *chunk[R]) each(yield func(entityKey) bool) {
	for i := range c.sent {
		if !yield(entityKey{c.entity, c.sent[i].key}) {
			return
		}
	}
	for k := range c.nested {
		if !yield(k) {
			return
		}
	}
}
