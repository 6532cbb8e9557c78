package syncstate

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"io"
	"strings"
)

// The database trusts its file: a wrong byte in it can make it panic, loop,
// allocate without bound, or miss entries without a word. So a file is verified
// before the database may have it, by plain reads and with every length and
// page number checked. What passes is what the database itself would write, and
// every lookup in it goes where it should.

// The file format of bbolt, version 2: pages of one size, two of them meta
// pages that take turns, B+trees of branch and leaf pages, a list of free pages.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHeader  = 16 // id 8, flags 2, count 2, overflow 4
	elementSize = 16 // branch: pos 4, key size 4, page 8; leaf: flags 4, pos 4, key size 4, value size 4
	metaSize    = 64
	bucketSize  = 16 // root page 8, sequence 8

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketFlag   = 0x01

	smallestPage = 1 << 10
	largestPage  = 1 << 16
	// mostBytes bounds what is read of one node. The largest hold a few values
	// of the largest size.
	mostBytes = 8 << 20
	// mostLevels bounds the depth of a tree. A million entries have 4.
	mostLevels = 32
)

// native is how bbolt writes numbers.
var native = binary.NativeEndian

// meta is what a meta page says.
type meta struct {
	pageSize uint64
	root     uint64 // page of the root bucket
	freelist uint64 // page of the free list
	pages    uint64 // number of pages in use, free ones included
	txid     uint64
}

// currentMeta reads which version of the data counts. Both meta pages have to
// be whole, and one transaction apart. The database itself would do with one,
// but where the newer one is lost, the other leads to the data before the last
// Put, and a record would pass for what it no longer is. A crash can't spoil
// one: they are shorter than what a disk writes at once.
func currentMeta(r io.ReaderAt) (meta, error) {
	first, err := readMeta(r, 0, 0)
	if err != nil {
		return meta{}, err
	}
	second, err := readMeta(r, 1, int64(first.pageSize))
	switch {
	case err != nil:
		return meta{}, err
	case first.pageSize == second.pageSize && second.txid == first.txid+1:
		return second, nil
	case first.pageSize == second.pageSize && first.txid == second.txid+1:
		return first, nil
	}
	return meta{}, damaged("its meta pages contradict each other")
}

func readMeta(r io.ReaderAt, id uint64, offset int64) (meta, error) {
	var page [pageHeader + metaSize]byte
	if _, err := r.ReadAt(page[:], offset); err == io.EOF {
		if id == 0 {
			return meta{}, foreign()
		}
		return meta{}, damaged("it ends before its second meta page")
	} else if err != nil {
		return meta{}, unreadable(err)
	}
	b := page[pageHeader:]
	if native.Uint32(b[0:]) != boltMagic || native.Uint32(b[4:]) != boltVersion {
		if id == 0 {
			return meta{}, foreign()
		}
		return meta{}, damaged("its second meta page is none")
	}
	if native.Uint64(page[:]) != id {
		return meta{}, damaged("a meta page lies in the other's place")
	}
	h := fnv.New64a()
	_, _ = h.Write(b[:56])
	if h.Sum64() != native.Uint64(b[56:]) {
		return meta{}, damaged("a meta page fails its checksum")
	}
	m := meta{
		pageSize: uint64(native.Uint32(b[8:])),
		root:     native.Uint64(b[16:]),
		freelist: native.Uint64(b[32:]),
		pages:    native.Uint64(b[40:]),
		txid:     native.Uint64(b[48:]),
	}
	if m.pageSize < smallestPage || m.pageSize > largestPage || m.pageSize&(m.pageSize-1) != 0 {
		return meta{}, foreign()
	}
	return m, nil
}

// fits demands that a file of this size holds all its pages. Reading past the
// end of a mapped file is a fault.
func (m *meta) fits(size int64) error {
	if m.pages > uint64(size)/m.pageSize {
		return damaged("it has %d bytes where %d pages of %d bytes belong", size, m.pages, m.pageSize)
	}
	return nil
}

// verifier reads one file once.
type verifier struct {
	meta
	file  io.ReaderAt
	taken []uint64 // a bit for each page that has been met
	nodes [mostLevels][]byte
	last  []byte // the last key of the leaf before
	any   bool   // whether there was one
	said  tally  // what the state says of itself
	found tally
}

// verify reads a whole state and finds everything that is wrong with it. A
// database that nothing was ever written to passes: it is a state whose
// creation was interrupted.
func verify(file io.ReaderAt, size int64) error {
	m, err := currentMeta(file)
	if err != nil {
		return err
	}
	if err := m.fits(size); err != nil {
		return err
	}
	v := &verifier{meta: m, file: file, taken: make([]uint64, m.pages/64+1)}
	buckets, err := v.buckets()
	if err != nil {
		return err
	}
	if len(buckets) > 0 {
		if err := v.contents(buckets); err != nil {
			return err
		}
	} else if m.pages > 4 { // more than a new database has: it is someone else's
		return foreign()
	}
	return v.free()
}

// bucket is an item of the root bucket. The value holds its root page, or the
// bucket itself where that is small.
type bucket struct {
	flags uint32
	name  string
	value []byte
}

func (v *verifier) buckets() ([]bucket, error) {
	var list []bucket
	err := v.tree(v.root, func(flags uint32, key, val []byte) error {
		list = append(list, bucket{flags, string(key), bytes.Clone(val)})
		return nil
	})
	return list, err
}

// contents checks the format first: of another one, nothing else is known. The
// tally comes last.
func (v *verifier) contents(list []bucket) error {
	at := -1
	for i := range list {
		if list[i].name == string(stateBucket) && list[i].flags == bucketFlag {
			at = i
		}
	}
	if at < 0 {
		return foreign()
	}
	if err := v.state(list[at].value); err != nil {
		return err
	}
	for i := range list {
		if i == at {
			continue
		}
		entity, ok := strings.CutPrefix(list[i].name, entriesPrefix)
		if !ok || entity == "" || list[i].flags != bucketFlag {
			return damaged("it holds something unknown beside its entries")
		}
		if err := v.entries(entity, list[i].value); err != nil {
			return err
		}
	}
	v.found.txid = v.txid
	if v.found != v.said {
		return damaged("some of it is missing, or from before")
	}
	return nil
}

// state checks the bucket of what is not entries.
func (v *verifier) state(val []byte) error {
	var marker, sums []byte
	other := false // whether there is something that this format does not know
	var wrong error
	err := v.bucket(val, func(flags uint32, key, val []byte) error {
		switch {
		case flags == 0 && string(key) == string(formatKey):
			marker = bytes.Clone(val)
		case flags == 0 && string(key) == string(tallyKey):
			sums = bytes.Clone(val)
		case flags == 0 && string(key) == string(headerKey):
			_, wrong = parseHeader(val)
		default:
			other = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := checkFormat(marker); err != nil {
		return err
	}
	if other {
		return damaged("it holds something unknown beside its header")
	}
	if wrong != nil {
		return wrong
	}
	v.said, err = parseTally(sums)
	return err
}

func (v *verifier) entries(entity string, val []byte) error {
	seed := seedOf(entity)
	return v.bucket(val, func(flags uint32, key, val []byte) error {
		if flags != 0 {
			return damaged("an entry of %s is none", entity)
		}
		if _, _, ok := splitKey(key); !ok {
			return damaged("a key of %s is malformed", entity)
		}
		if _, ok := parseValue(seed, key, val); !ok {
			return damaged("an entry of %s fails its checksum", entity)
		}
		v.found.add(val)
		return nil
	})
}

// item is called for each item of a tree, in order. The bytes are valid only
// while it runs.
type item = func(flags uint32, key, value []byte) error

// bucket walks a bucket that lies in a tree of its own, or inside its value.
func (v *verifier) bucket(val []byte, each item) error {
	if len(val) < bucketSize {
		return damaged("a bucket is cut short")
	}
	if root := native.Uint64(val); root != 0 {
		if len(val) != bucketSize {
			return damaged("a bucket lies in two places")
		}
		return v.tree(root, each)
	}
	node := val[bucketSize:]
	if len(node) < pageHeader || native.Uint16(node[8:]) != leafPage || native.Uint32(node[12:]) != 0 {
		return damaged("a small bucket is none")
	}
	v.any = false
	end, err := v.leaf(node, nil, each)
	if err == nil && end != uint64(len(node)) {
		return damaged("a small bucket is cut short")
	}
	return err
}

func (v *verifier) tree(root uint64, each item) error {
	v.any = false
	return v.node(root, 0, nil, each)
}

// node walks the tree below a page. first is the key that the page above has
// for it: the database takes it for the first key below, in lookups and when it
// replaces the page.
func (v *verifier) node(id uint64, level int, first []byte, each item) error {
	if level == mostLevels {
		return damaged("a tree has more than %d levels", mostLevels)
	}
	node, err := v.read(id, level)
	if err != nil {
		return err
	}
	switch native.Uint16(node[8:]) {
	case leafPage:
		// Nothing is ever removed, so only a new database has an empty leaf.
		if native.Uint16(node[10:]) == 0 && id != v.root {
			return damaged("page %d is empty", id)
		}
		_, err := v.leaf(node, first, each)
		return err
	case branchPage:
		return v.branch(node, level, first, each)
	}
	return damaged("page %d is neither branch nor leaf", id)
}

// leaf checks that keys grow, within the page and from the page before, and
// that nothing lies between or over the items. It returns where they end.
func (v *verifier) leaf(node, first []byte, each item) (end uint64, err error) {
	count := uint64(native.Uint16(node[10:]))
	end = pageHeader + count*elementSize
	last := v.last
	for i := range count {
		at := pageHeader + i*elementSize
		if at+elementSize > uint64(len(node)) {
			return 0, damaged("a leaf has more items than fit")
		}
		e := node[at : at+elementSize]
		k, n := uint64(native.Uint32(e[8:])), uint64(native.Uint32(e[12:]))
		if at+uint64(native.Uint32(e[4:])) != end || k == 0 || end+k+n > uint64(len(node)) {
			return 0, damaged("an item lies outside of its place")
		}
		key, val := node[end:end+k:end+k], node[end+k:end+k+n:end+k+n]
		if i == 0 && first != nil && !bytes.Equal(first, key) {
			return 0, damaged("a branch leads astray")
		}
		if v.any && bytes.Compare(last, key) >= 0 {
			return 0, damaged("keys are out of order")
		}
		if err := each(native.Uint32(e), key, val); err != nil {
			return 0, err
		}
		v.any, last = true, key
		end += k + n
	}
	v.last = append(v.last[:0], last...)
	return end, nil
}

// branch is the same for a page of pages.
func (v *verifier) branch(node []byte, level int, first []byte, each item) error {
	count := uint64(native.Uint16(node[10:]))
	if count == 0 {
		return damaged("a branch leads nowhere")
	}
	end := pageHeader + count*elementSize
	for i := range count {
		at := pageHeader + i*elementSize
		if at+elementSize > uint64(len(node)) {
			return damaged("a branch has more items than fit")
		}
		e := node[at : at+elementSize]
		k := uint64(native.Uint32(e[4:]))
		if at+uint64(native.Uint32(e)) != end || k == 0 || end+k > uint64(len(node)) {
			return damaged("an item lies outside of its place")
		}
		key := node[end : end+k : end+k]
		if i == 0 && first != nil && !bytes.Equal(first, key) {
			return damaged("a branch leads astray")
		}
		if err := v.node(native.Uint64(e[8:]), level+1, key, each); err != nil {
			return err
		}
		end += k
	}
	return nil
}

// read reads a node: a page and those that it continues on.
func (v *verifier) read(id uint64, level int) ([]byte, error) {
	node, err := v.readAt(id, 0, v.pageSize, v.nodes[level])
	if err != nil {
		return nil, err
	}
	v.nodes[level] = node
	more := uint64(native.Uint32(node[12:]))
	if native.Uint64(node) != id || (more+1)*v.pageSize > mostBytes {
		return nil, damaged("page %d is none", id)
	}
	if err := v.take(id, more+1); err != nil {
		return nil, err
	}
	if more > 0 {
		node, err = v.readAt(id, 0, (more+1)*v.pageSize, nil)
	}
	return node, err
}

// readAt reads n bytes of a page that may be followed by others.
func (v *verifier) readAt(id, offset, n uint64, buf []byte) ([]byte, error) {
	if id < 2 || id >= v.pages || id*v.pageSize+offset+n > v.pages*v.pageSize {
		return nil, damaged("there is no page %d", id)
	}
	if uint64(cap(buf)) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := v.file.ReadAt(buf, int64(id*v.pageSize+offset)); err != nil {
		return nil, unreadable(err)
	}
	return buf, nil
}

// take marks pages that must not have been met before.
func (v *verifier) take(id, n uint64) error {
	for ; n > 0; n-- {
		if id < 2 || id >= v.pages {
			return damaged("there is no page %d", id)
		}
		if v.taken[id/64]&(1<<(id%64)) != 0 {
			return damaged("page %d has two uses", id)
		}
		v.taken[id/64] |= 1 << (id % 64)
		id++
	}
	return nil
}

// free checks the list of free pages: what is on it is overwritten next, so
// nothing in use may be. It has to be called last.
func (v *verifier) free() error {
	head, err := v.readAt(v.freelist, 0, pageHeader+8, nil)
	if err != nil {
		return err
	}
	pages := uint64(native.Uint32(head[12:])) + 1
	if native.Uint64(head) != v.freelist || native.Uint16(head[8:]) != freelistPage {
		return damaged("its free list is none")
	}
	if err := v.take(v.freelist, pages); err != nil {
		return err
	}
	count, offset := uint64(native.Uint16(head[10:])), uint64(pageHeader)
	if count == 0xFFFF { // then the first item has it
		count, offset = native.Uint64(head[pageHeader:]), offset+8
	}
	if count > v.pages || offset+count*8 > pages*v.pageSize {
		return damaged("its free list is longer than its place")
	}
	return v.freeIDs(offset, count)
}

func (v *verifier) freeIDs(offset, count uint64) error {
	const most = 64 << 10
	var buf []byte
	var err error
	for before := uint64(1); count > 0; {
		n := min(count*8, most)
		if buf, err = v.readAt(v.freelist, offset, n, buf); err != nil {
			return err
		}
		for i := uint64(0); i < n; i += 8 {
			id := native.Uint64(buf[i:])
			if id <= before {
				return damaged("its free list is out of order")
			}
			if err := v.take(id, 1); err != nil {
				return err
			}
			before = id
		}
		offset, count = offset+n, count-n/8
	}
	return nil
}
