package eryxon

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOptTellsUnsetNullAndValueApart(t *testing.T) {
	for name, tt := range map[string]struct {
		o            Opt[int]
		value        int
		ok, set, nul bool
		or           int
		text         string
	}{
		"unset": {Opt[int]{}, 0, false, false, false, 7, "unset"},
		"null":  {Null[int](), 0, false, true, true, 7, "null"},
		"zero":  {Some(0), 0, true, true, false, 0, "0"},
		"value": {Some(42), 42, true, true, false, 42, "42"},
	} {
		t.Run(name, func(t *testing.T) {
			value, ok := tt.o.Get()
			assert.Equal(t, tt.value, value)
			assert.Equal(t, tt.ok, ok)
			assert.Equal(t, tt.set, tt.o.IsSet())
			assert.Equal(t, tt.nul, tt.o.IsNull())
			assert.Equal(t, tt.or, tt.o.Or(7))
			assert.Equal(t, tt.text, tt.o.String())
		})
	}
}

func TestOptIsComparable(t *testing.T) {
	assert.True(t, Some("") == Some(""))
	assert.False(t, Some("") == Opt[string]{}, "an empty value is not unset")
	assert.False(t, Null[string]() == Opt[string]{}, "null is not unset")
	assert.False(t, Null[string]() == Some(""), "null is not empty")
}

// line is a struct of a user's own.
type line struct {
	Text  Opt[string]            `json:"text,omitzero"`
	Count Opt[int]               `json:"count,omitzero"`
	Price Opt[float64]           `json:"price,omitzero"`
	On    Opt[bool]              `json:"on,omitzero"`
	Day   Opt[Date]              `json:"day,omitzero"`
	Kind  Opt[ResourceType]      `json:"kind,omitzero"`
	More  Opt[map[string]string] `json:"more,omitzero"`
	Plain Opt[int]               `json:"plain"` // without omitzero
}

func TestOptInAUsersStruct(t *testing.T) {
	for name, tt := range map[string]struct {
		value line
		text  string
	}{
		"unset": {line{Plain: Some(1)}, `{"plain":1}`},
		"null": {
			line{Text: Null[string](), Count: Null[int](), Day: Null[Date](), Plain: Null[int]()},
			`{"text":null,"count":null,"day":null,"plain":null}`,
		},
		"zero": {
			line{Text: Some(""), Count: Some(0), Price: Some(0.0), On: Some(false), Kind: Some(ResourceType("")), Plain: Some(0)},
			`{"text":"","count":0,"price":0,"on":false,"kind":"","plain":0}`,
		},
		"values": {
			line{Text: Some("a<b"), Count: Some(-3), Price: Some(12.5), On: Some(true), Day: Some(NewDate(2024, time.December, 31)),
				Kind: Some(ResourceMold), More: Some(map[string]string{"a": "b"}), Plain: Some(9)},
			`{"text":"a\u003cb","count":-3,"price":12.5,"on":true,"day":"2024-12-31","kind":"mold","more":{"a":"b"},"plain":9}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := json.Marshal(tt.value)
			require.NoError(t, err)
			assert.Equal(t, tt.text, string(raw))

			var back line
			require.NoError(t, json.Unmarshal(raw, &back))
			assert.Equal(t, tt.value, back)
		})
	}
}

func TestOptUnsetWithoutOmitzeroIsNull(t *testing.T) {
	raw, err := json.Marshal(struct {
		A Opt[int] `json:"a"`
	}{})
	require.NoError(t, err)
	assert.Equal(t, `{"a":null}`, string(raw))
}

func TestOptRefusesAnotherType(t *testing.T) {
	o := Some(5)
	require.Error(t, json.Unmarshal([]byte(`"five"`), &o))
	assert.Equal(t, Some(5), o, "a failed decoding leaves the value alone")

	var l line
	require.Error(t, json.Unmarshal([]byte(`{"day":"31/12/2024"}`), &l))
	_, err := json.Marshal(Some(func() {}))
	assert.Error(t, err)
}

func TestParseDateReadsOnlyDaysThatExist(t *testing.T) {
	for in, want := range map[string]Date{
		"2024-12-31": NewDate(2024, time.December, 31),
		"2024-02-29": NewDate(2024, time.February, 29),
		"0001-01-01": NewDate(1, time.January, 1),
		"9999-12-31": NewDate(9999, time.December, 31),
	} {
		d, err := ParseDate(in)
		require.NoError(t, err, in)
		assert.Equal(t, want, d)
		assert.Equal(t, in, d.String())
		assert.True(t, d.IsValid())
	}
	for _, in := range []string{
		"", " ", "2025-02-30", "2025-02-29", "1900-02-29", "2025-13-01", "2025-00-10", "2025-01-00", "2025-04-31", "0000-01-01",
		"31/12/2024", "12/31/2024", "20241231", "2024-1-2", "24-12-31", "2024-12-31 ", " 2024-12-31", "2024-12-31Z",
		"2024-12-31T00:00:00Z", "2024-12-31T00:00:00+00:00", "2024-12-31 10:00", "12345-01-01", "-2024-01-01", "٢٠٢٤-12-31", "null", "\x00",
	} {
		d, err := ParseDate(in)
		require.Errorf(t, err, "%q", in)
		assert.Zero(t, d)
		assert.Contains(t, err.Error(), "want YYYY-MM-DD", "the text says what is wanted")
	}
	_, err := ParseDate("")
	assert.ErrorContains(t, err, "leave the field unset", "an empty cell of a table is what people hand in")
}

func TestNewDateDoesNotNormalise(t *testing.T) {
	for _, d := range []Date{
		{}, NewDate(2025, time.February, 30), NewDate(2023, time.February, 29), NewDate(2025, time.April, 31), NewDate(2025, 0, 1),
		NewDate(2025, 13, 1), NewDate(2025, time.May, 0), NewDate(2025, time.May, 32), NewDate(0, time.May, 1), NewDate(10000, time.May, 1),
		NewDate(-1, time.May, 1), NewDate(2025, time.May, -1), NewDate(65536+2025, time.May, 1),
	} {
		assert.Falsef(t, d.IsValid(), "%v", d)
		_, err := d.MarshalText()
		require.ErrorContains(t, err, "not a day that exists")
		_, err = json.Marshal(d)
		assert.Error(t, err)
	}
	d := NewDate(2024, time.February, 29)
	assert.Equal(t, []any{2024, time.February, 29}, []any{d.Year(), d.Month(), d.Day()})
}

func TestDateIsTheDayInTheTimesOwnZone(t *testing.T) {
	kiritimati := time.FixedZone("+14", 14*3600)
	at := time.Date(2024, time.December, 31, 23, 30, 0, 0, time.UTC)
	assert.Equal(t, NewDate(2024, time.December, 31), DateOf(at))
	assert.Equal(t, NewDate(2025, time.January, 1), DateOf(at.In(kiritimati)))
	assert.True(t, NewDate(2025, time.January, 1).Time(kiritimati).Equal(time.Date(2024, time.December, 31, 10, 0, 0, 0, time.UTC)))
	assert.False(t, DateOf(time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)).IsValid())
}

func TestDateText(t *testing.T) {
	text, err := NewDate(987, time.March, 4).MarshalText()
	require.NoError(t, err)
	assert.Equal(t, "0987-03-04", string(text))

	d := NewDate(2024, time.May, 6)
	require.Error(t, d.UnmarshalText([]byte("2025-02-30")))
	assert.Equal(t, NewDate(2024, time.May, 6), d, "a failed decoding leaves the date alone")
	require.NoError(t, d.UnmarshalText([]byte("2025-02-28")))
	assert.Equal(t, NewDate(2025, time.February, 28), d)

	// A date can be a map's key, too.
	raw, err := json.Marshal(map[Date]int{NewDate(2024, time.May, 6): 1})
	require.NoError(t, err)
	assert.Equal(t, `{"2024-05-06":1}`, string(raw))
}

// Every day of the calendar survives; every other combination is refused.
func TestDateAgreesWithTheCalendar(t *testing.T) {
	for _, year := range []int{1, 1900, 2000, 2023, 2024, 9999} {
		for month := range time.Month(14) {
			for day := range 33 {
				exists := time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Day() == day && month >= 1 && month <= 12 && day >= 1
				d := NewDate(year, month, day)
				if d.IsValid() != exists {
					t.Errorf("%d-%d-%d: valid is %v", year, month, day, d.IsValid())
				}
				if !exists {
					continue
				}
				if back, err := ParseDate(d.String()); err != nil || back != d {
					t.Errorf("%s: came back as %v, %v", d, back, err)
				}
			}
		}
	}
}
