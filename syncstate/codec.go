package syncstate

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"time"

	"github.com/eryxon/eryxon-go"
)

// What an entry may hold. The bounds are far above what the SDK writes; they
// let a damaged length be told from a true one.
const (
	maxName   = 128      // bytes of an entity's name
	maxKey    = 16 << 10 // bytes of source and external id together
	maxID     = 1 << 10  // bytes of a row's id
	maxDetail = 64 << 10 // bytes of detail
	maxHeader = 1 << 20  // bytes of the header
)

// admissible checks what Put was given, the same for every kind of state.
func admissible(header []byte, entries []eryxon.StateEntry) error {
	if len(header) > maxHeader {
		return refused("the header has %d bytes, the most is %d", len(header), maxHeader)
	}
	for i := range entries {
		e := &entries[i]
		switch {
		case e.Entity == "":
			return refused("entry %d (%s) names no entity", i, e.Key)
		case len(e.Entity) > maxName:
			return refused("entry %d: the entity's name has %d bytes, the most is %d", i, len(e.Entity), maxName)
		case len(e.Key.Source)+len(e.Key.ExternalID) > maxKey:
			return refused("entry %d: the key has %d bytes, the most is %d", i, len(e.Key.Source)+len(e.Key.ExternalID), maxKey)
		case len(e.ID) > maxID:
			return refused("entry %d (%s): the id has %d bytes, the most is %d", i, e.Key, len(e.ID), maxID)
		case len(e.Detail) > maxDetail:
			return refused("entry %d (%s): the detail has %d bytes, the most is %d", i, e.Key, len(e.Detail), maxDetail)
		}
	}
	return nil
}

// nameless is the answer to reads that name no entity.
func nameless() error {
	return &problem{what: "no entity is named", next: "name one, such as eryxon.EntityJobs"}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seedOf starts the checksums of an entity's entries, so that none of them
// passes for another entity's.
func seedOf(entity string) uint32 { return crc32.Checksum([]byte(entity), castagnoli) }

func checksum(seed uint32, key, value []byte) uint32 {
	return crc32.Update(crc32.Update(seed, castagnoli, key), castagnoli, value)
}

// appendKey appends a key as stored: the length of the source, the source, the
// external id. The length keeps keys apart whatever bytes they hold.
func appendKey(b []byte, k eryxon.Key) []byte {
	b = binary.AppendUvarint(b, uint64(len(k.Source)))
	b = append(b, k.Source...)
	return append(b, k.ExternalID...)
}

// splitKey is the reverse of appendKey.
func splitKey(b []byte) (source, id []byte, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) || w > 1 && b[w-1] == 0 {
		return nil, nil, false
	}
	return b[w : w+int(n)], b[w+int(n):], true
}

// A value as stored: checksum of key and rest (4 bytes), kind of id (1), unix
// seconds (8), digest (16), id, detail to the end. Numbers are big-endian.
const (
	valueBase = 4 + 1 + 8 + 16

	idNone = 0 // no bytes
	idUUID = 1 // 16 bytes, in place of the 36 of its text
	idText = 2 // length and text
)

// zeroSeconds is the zero time in unix seconds.
var zeroSeconds = time.Time{}.Unix()

// appendValue appends what is stored of an entry under its stored key.
func appendValue(b []byte, seed uint32, key []byte, e *eryxon.StateEntry) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, idNone)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time.Unix()))
	b = append(b, e.Digest[:]...)
	if id, ok := parseUUID(e.ID); ok {
		b[start+4] = idUUID
		b = append(b, id[:]...)
	} else if e.ID != "" {
		b[start+4] = idText
		b = binary.AppendUvarint(b, uint64(len(e.ID)))
		b = append(b, e.ID...)
	}
	b = append(b, e.Detail...)
	binary.BigEndian.PutUint32(b[start:], checksum(seed, key, b[start+4:]))
	return b
}

// value is a stored value taken apart. Its slices are the stored bytes.
type value struct {
	seconds    int64
	digest     []byte
	uuid, text []byte // of the id: at most one of them
	detail     []byte
}

// parseValue is the reverse of appendValue. It takes nothing that appendValue
// would not have written.
func parseValue(seed uint32, key, b []byte) (v value, ok bool) {
	if len(b) < valueBase || binary.BigEndian.Uint32(b) != checksum(seed, key, b[4:]) {
		return v, false
	}
	v.seconds = int64(binary.BigEndian.Uint64(b[5:]))
	v.digest = b[13:valueBase]
	rest := b[valueBase:]
	switch b[4] {
	case idNone:
	case idUUID:
		if len(rest) < 16 {
			return v, false
		}
		v.uuid, rest = rest[:16], rest[16:]
	case idText:
		n, w := binary.Uvarint(rest)
		if w <= 0 || n == 0 || n > uint64(len(rest)-w) || w > 1 && rest[w-1] == 0 {
			return v, false
		}
		v.text, rest = rest[w:w+int(n)], rest[w+int(n):]
		if _, is := parseUUID(string(v.text)); is {
			return v, false
		}
	default:
		return v, false
	}
	v.detail = rest
	return v, true
}

// entry copies a value out of the stored bytes.
func (v *value) entry(entity eryxon.Entity, key eryxon.Key) eryxon.StateEntry {
	e := eryxon.StateEntry{Entity: entity, Key: key, Digest: [16]byte(v.digest)}
	if v.seconds != zeroSeconds {
		e.Time = time.Unix(v.seconds, 0).UTC()
	}
	switch {
	case v.uuid != nil:
		e.ID = formatUUID(v.uuid)
	case v.text != nil:
		e.ID = string(v.text)
	}
	if len(v.detail) > 0 {
		e.Detail = bytes.Clone(v.detail)
	}
	return e
}

// parseUUID reads a UUID in the one form that formatUUID writes; in any other,
// it has to be kept as the text that it is.
func parseUUID(s string) (u [16]byte, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, false
	}
	at := 0
	for i := range u {
		if at == 8 || at == 13 || at == 18 || at == 23 {
			at++
		}
		high, low := nibble(s[at]), nibble(s[at+1])
		if high > 15 || low > 15 {
			return u, false
		}
		u[i] = high<<4 | low
		at += 2
	}
	return u, true
}

// nibble is the value of a lower-case hexadecimal digit, 255 of anything else.
func nibble(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}

func formatUUID(u []byte) string {
	var b [36]byte
	hex.Encode(b[:], u[:4])
	b[8] = '-'
	hex.Encode(b[9:], u[4:6])
	b[13] = '-'
	hex.Encode(b[14:], u[6:8])
	b[18] = '-'
	hex.Encode(b[19:], u[8:10])
	b[23] = '-'
	hex.Encode(b[24:], u[10:])
	return string(b[:])
}

// The format marker: a name, the version, a checksum. Its own form stays the
// same in every version, so that each can tell the others'.
const (
	formatName    = "eryxon sync state"
	formatVersion = 1
)

func formatMarker(version uint32) []byte {
	b := binary.BigEndian.AppendUint32([]byte(formatName), version)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// checkFormat reads a marker: nil for the format that this package writes.
func checkFormat(marker []byte) error {
	if len(marker) != len(formatName)+8 || string(marker[:len(formatName)]) != formatName {
		return foreign()
	}
	version := binary.BigEndian.Uint32(marker[len(formatName):])
	if !bytes.Equal(marker, formatMarker(version)) {
		return damaged("the format marker fails its checksum")
	}
	if version != formatVersion {
		return otherFormat(version)
	}
	return nil
}

// tally is what a state says of itself, to tell whether all of it is there and
// none of it is from before: a disk that loses a write leaves an older page in
// its place, with nothing wrong in it. Each write replaces it.
type tally struct {
	txid    uint64 // of the transaction that wrote it, which the meta page names too
	entries uint64
	sum     uint64 // of the entries' checksums
}

func (t *tally) add(value []byte) {
	t.entries++
	t.sum += uint64(binary.BigEndian.Uint32(value))
}

func (t *tally) remove(value []byte) {
	t.entries--
	t.sum -= uint64(binary.BigEndian.Uint32(value))
}

func (t *tally) bytes() []byte {
	b := binary.BigEndian.AppendUint64(nil, t.txid)
	b = binary.BigEndian.AppendUint64(b, t.entries)
	b = binary.BigEndian.AppendUint64(b, t.sum)
	return binary.BigEndian.AppendUint32(b, checksum(0, tallyKey, b))
}

func parseTally(b []byte) (t tally, err error) {
	if len(b) != 28 || binary.BigEndian.Uint32(b[24:]) != checksum(0, tallyKey, b[:24]) {
		return t, damaged("its tally fails its checksum")
	}
	return tally{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])}, nil
}

// appendHeader puts the checksum before the header.
func appendHeader(b, header []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, checksum(0, headerKey, header))
	return append(b, header...)
}

func parseHeader(b []byte) ([]byte, error) {
	if len(b) < 4 || binary.BigEndian.Uint32(b) != checksum(0, headerKey, b[4:]) {
		return nil, damaged("the header fails its checksum")
	}
	return b[4:], nil
}
