package syncstate

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
)

func TestUUIDs(t *testing.T) {
	const text = "0f8fad5b-d9cb-469f-a165-70867728950e"
	u, ok := parseUUID(text)
	require.True(t, ok)
	assert.Equal(t, text, formatUUID(u[:]))
	for i := range text {
		for c := range 256 {
			s := text[:i] + string([]byte{byte(c)}) + text[i+1:]
			if u, ok := parseUUID(s); ok {
				assert.Equal(t, s, formatUUID(u[:]))
			}
		}
		_, ok := parseUUID(text[:i])
		assert.False(t, ok)
	}
}

// The layout is what files in the field have: it changes with formatVersion
// alone.
func TestTheFormatStays(t *testing.T) {
	e := eryxon.StateEntry{
		Entity: eryxon.EntityJobs, Key: eryxon.Key{Source: "SAP", ExternalID: "SO-1"}, ID: "0f8fad5b-d9cb-469f-a165-70867728950e",
		Time: time.Unix(1735689598, 0), Digest: [16]byte{0xAB, 15: 0xCD}, Detail: []byte("detail"),
	}
	key := appendKey(nil, e.Key)
	assert.Equal(t, "\x03SAPSO-1", string(key))
	got := appendValue(nil, seedOf("jobs"), key, &e)
	want := "\x01" + "\x00\x00\x00\x00\x67\x74\x85\x7e" + "\xab" + string(make([]byte, 14)) + "\xcd" +
		"\x0f\x8f\xad\x5b\xd9\xcb\x46\x9f\xa1\x65\x70\x86\x77\x28\x95\x0e" + "detail"
	assert.Equal(t, want, string(got[4:]))
	assert.Equal(t, checksum(0, nil, append([]byte("jobs\x03SAPSO-1"), want...)), binary.BigEndian.Uint32(got))
	assert.Equal(t, "eryxon sync state\x00\x00\x00\x01", string(formatMarker(1)[:21]))
	assert.Equal(t, uint32(0xE3069283), checksum(0, nil, []byte("123456789")), "CRC-32C")

	e.ID, e.Time, e.Detail = "row 1", time.Time{}, nil
	got = appendValue(nil, 0, key, &e)
	assert.Equal(t, "\x02"+"\xff\xff\xff\xf1\x88\x6e\x09\x00"+"\xab"+string(make([]byte, 14))+"\xcd"+"\x05row 1", string(got[4:]))
	e.ID = ""
	assert.Len(t, appendValue(nil, 0, key, &e), valueBase)
}

// FuzzValue: what parses is what would be written, and what is written parses.
func FuzzValue(f *testing.F) {
	f.Add([]byte("\x03SAPSO-1"), []byte("\x01\x00\x00\x00\x00\x67\x74\x85\x7e................0123456789abcdefdetail"))
	f.Add([]byte("\x00"), []byte("\x02\x00\x00\x00\x00\x67\x74\x85\x7e................\x05row 1detail"))
	f.Add([]byte(""), []byte("\x00\xff\xff\xff\xf1\x88\x6e\x09\x00................"))
	f.Add([]byte("\x80\x00"), []byte("\x02\xff\xff\xff\xf1\x88\x6e\x09\x00................\x80\x00"))
	f.Fuzz(func(t *testing.T, key, b []byte) {
		if _, ok := parseValue(7, key, b); ok {
			t.Fatal("a value without a checksum is taken")
		}
		signed := binary.BigEndian.AppendUint32(nil, checksum(7, key, b))
		signed = append(signed, b...)
		source, id, isKey := splitKey(key)
		v, ok := parseValue(7, key, signed)
		if !ok || !isKey {
			return
		}
		k := eryxon.Key{Source: string(source), ExternalID: string(id)}
		require.Equal(t, key, appendKey(nil, k))
		e := v.entry("x", k)
		require.Equal(t, signed, appendValue(nil, 7, key, &e))
		for i := range signed {
			spoilt := bytes.Clone(signed)
			spoilt[i] ^= 0x10
			_, ok := parseValue(7, key, spoilt)
			require.False(t, ok)
		}
	})
}

func TestAFileThatThisUserMayNotOpen(t *testing.T) {
	err := at("/var/lib/state", notOpened(&fs.PathError{Op: "open", Path: "/var/lib/state", Err: syscall.EACCES}))
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, "/var/lib/state")
	require.ErrorContains(t, err, "give this user the right")
}
