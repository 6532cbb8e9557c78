package syncstate

import (
	"bytes"
	"iter"
	"runtime/debug"

	"github.com/eryxon/eryxon-go"
)

// entriesAPage is how many entries Entries reads at a time, about 1 MiB.
const entriesAPage = 2048

// Entries returns all entries of an entity, ordered by the length of the
// source, then the source, then the external id. Put may be called while they
// are ranged over; what is put may or may not be met. An error ends them.
func (f *File) Entries(entity eryxon.Entity) iter.Seq2[eryxon.StateEntry, error] {
	return func(yield func(eryxon.StateEntry, error) bool) {
		var page []eryxon.StateEntry
		var last []byte
		for {
			var err error
			page, last, err = f.page(entity, last, page[:0])
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
			}
			if err != nil {
				yield(eryxon.StateEntry{}, err)
				return
			}
			if len(page) < entriesAPage {
				return
			}
		}
	}
}

// page appends the next entries after the stored key last, nil for the first,
// and returns the new last one. An error may come after some entries.
func (f *File) page(entity eryxon.Entity, last []byte, page []eryxon.StateEntry) (_ []eryxon.StateEntry, _ []byte, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(); err != nil {
		return page, last, err
	}
	page, last, err = f.fill(entity, last, page)
	return page, last, at(f.path, err)
}

func (f *File) fill(entity eryxon.Entity, last []byte, page []eryxon.StateEntry) (_ []eryxon.StateEntry, _ []byte, err error) {
	if entity == "" {
		return page, last, nameless()
	}
	defer f.guard(debug.SetPanicOnFault(true), &err)
	r, err := f.reader(entity)
	if err != nil || r == nil {
		return page, last, err
	}
	k, stored := r.cursor.Seek(last)
	if last != nil && bytes.Equal(k, last) {
		k, stored = r.cursor.Next()
	}
	name, before := "", last
	for ; k != nil; k, stored = r.cursor.Next() {
		source, id, ok := splitKey(k)
		v, sound := parseValue(r.seed, k, stored)
		if !ok || !sound {
			return page, last, damaged("an entry of %s fails its checksum", entity)
		}
		if before != nil && bytes.Compare(before, k) >= 0 { // it would go round for ever
			return page, last, damaged("entries of %s are out of order", entity)
		}
		before = k
		if string(source) != name {
			name = string(source)
		}
		page = append(page, v.entry(entity, eryxon.Key{Source: name, ExternalID: string(id)}))
		if len(page) == entriesAPage {
			return page, append(last[:0], k...), nil
		}
	}
	return page, last, nil
}
