package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
)

func TestJobsOfAFile(t *testing.T) {
	job := func(id, number string, change ...func(*eryxon.Job)) eryxon.Job {
		j := eryxon.Job{ExternalID: id, ExternalSource: "ERP", JobNumber: number}
		for _, c := range change {
			c(&j)
		}
		return j
	}
	customer := func(name string) func(*eryxon.Job) {
		return func(j *eryxon.Job) { j.Customer = eryxon.Some(name) }
	}
	one := []eryxon.Job{job("1", "J", customer("Müller"))}
	tests := []struct {
		name, text string
		want       []eryxon.Job
		lines      []int
		complaints []string
	}{
		{"commas", "external_id,job_number,customer\n1,J,Müller\n", one, []int{2}, nil},
		{"semicolons", "external_id;job_number;customer\n1;J;Müller\n", one, []int{2}, nil},
		{"byte order mark", "\ufeffexternal_id;job_number;customer\n1;J;Müller\n", one, []int{2}, nil},
		{"byte order mark and quotes", "\ufeff\"external_id\",\"job_number\",\"customer\"\n1,J,Müller\n", one, []int{2}, nil},
		{"CRLF", "external_id,job_number,customer\r\n1,J,Müller\r\n", one, []int{2}, nil},
		{"no line end at the end", "external_id,job_number,customer\n1,J,Müller", one, []int{2}, nil},
		{"other order, case and space in the header", " Customer ,JOB_NUMBER,External_ID\nMüller,J,1\n", one, []int{2}, nil},
		{"header only", "external_id,job_number\n", nil, nil, nil},
		{
			"delimiters in quotes", "external_id;job_number;customer\n1;J;\"a;b\"\"c\"\n2;K;d,e\n",
			[]eryxon.Job{job("1", "J", customer(`a;b"c`)), job("2", "K", customer("d,e"))},
			[]int{2, 3}, nil,
		},
		{
			"commas in the quotes of a header of semicolons", "external_id;job_number;\"a,b,c,d\"\n1;J;\n",
			[]eryxon.Job{job("1", "J")},
			[]int{2}, nil,
		},
		{
			"line breaks in quotes", "external_id,job_number,customer\n1,J,\"a\nb\r\nc\"\n2,K,d\n",
			[]eryxon.Job{job("1", "J", customer("a\nb\nc")), job("2", "K", customer("d"))},
			[]int{2, 5}, nil,
		},
		{
			"blank lines, and lines of blank cells", "\nexternal_id,job_number,customer\n\n1,J,\n,, \n   \n2,K,d\n",
			[]eryxon.Job{job("1", "J"), job("2", "K", customer("d"))},
			[]int{4, 7}, nil,
		},
		{
			"leading zeros", "external_id,job_number,priority\n00042,0007,03\n",
			[]eryxon.Job{job("00042", "0007", func(j *eryxon.Job) { j.Priority = eryxon.Some(3) })},
			[]int{2}, nil,
		},
		{
			"empty, null, zero", "external_id,job_number,customer,due_date,priority\n1,J,,,\n2,J2,\\N,\\N,\\N\n3,J3, x , 2026-02-28 , 0 \n",
			[]eryxon.Job{
				job("1", "J"),
				job("2", "J2", func(j *eryxon.Job) {
					j.Customer, j.DueDate, j.Priority = eryxon.Null[string](), eryxon.Null[eryxon.Date](), eryxon.Null[int]()
				}),
				job("3", "J3", customer(" x "), func(j *eryxon.Job) {
					j.DueDate, j.Priority = eryxon.Some(eryxon.NewDate(2026, time.February, 28)), eryxon.Some(0)
				}),
			},
			[]int{2, 3, 4}, nil,
		},
		{
			"columns that are not known", "external_id,job_number,Project,weight\n1,J,P-1,007\n2,K,,\\N\n",
			[]eryxon.Job{
				job("1", "J", func(j *eryxon.Job) { j.Extra = map[string]any{"Project": "P-1", "weight": "007"} }),
				job("2", "K", func(j *eryxon.Job) { j.Extra = map[string]any{"weight": nil} }),
			},
			[]int{2, 3}, nil,
		},
		{
			"a source of its own", "external_id,job_number,external_source\n1,J,SAP\n2,K,\n",
			[]eryxon.Job{job("1", "J", func(j *eryxon.Job) { j.ExternalSource = "SAP" }), job("2", "K")},
			[]int{2, 3}, nil,
		},
		{
			"bad cells beside a good record", "external_id,job_number,notes,due_date,priority\n1,J,\"a\nb\",31.12.2026,high\n2,K,,2026-02-30,1.5\n3,L,,,9999999999999999999\n4,M,,,\n",
			[]eryxon.Job{job("4", "M")},
			[]int{6},
			[]string{
				`jobs.csv:2: due_date: "31.12.2026" is not a date: want YYYY-MM-DD and a day that exists`,
				`jobs.csv:2: priority: "high" is not a whole number: want digits only`,
				`jobs.csv:4: due_date: "2026-02-30" is not a date: want YYYY-MM-DD and a day that exists`,
				`jobs.csv:4: priority: "1.5" is not a whole number: want digits only`,
				`jobs.csv:5: priority: "9999999999999999999" is too large a number`,
			},
		},
		{
			"null where there can't be", "external_id,job_number\n1,\\N\n", nil, nil,
			[]string{`jobs.csv:2: job_number: \N: this field can't be cleared`},
		},
		{
			"too many and too few cells", "external_id,job_number,customer\n1,J,Meier, Sohn\n2,K\n", nil, nil,
			[]string{
				"jobs.csv:2: 4 cells where the header has 3: is there a cell with a delimiter in it that should be in quotes?",
				"jobs.csv:3: 2 cells where the header has 3: is there a cell with a delimiter in it that should be in quotes?",
			},
		},
		{
			"not UTF-8", "external_id,job_number,customer\n1,J,M\xfcller\n2,K,d\n",
			[]eryxon.Job{job("2", "K", customer("d"))},
			[]int{3},
			[]string{"jobs.csv:2: customer: is not UTF-8: export the file as UTF-8, or convert it from the ERP's code page first"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := records(t, &jobSchema, tt.text)
			assert.Equal(t, tt.want, in.records)
			assert.Equal(t, tt.lines, in.lines)
			assert.Equal(t, tt.complaints, complaintsOf(in.rejects))
		})
	}
}

func TestNumbersOfAFile(t *testing.T) {
	tests := []struct {
		cell                    string
		inCommas, inSemicolons  float64
		badCommas, badSemicolon bool
	}{
		{cell: "12", inCommas: 12, inSemicolons: 12},
		{cell: "12.5", inCommas: 12.5, inSemicolons: 12.5},
		{cell: "12,5", badCommas: true, inSemicolons: 12.5},
		{cell: "12,500", badCommas: true, inSemicolons: 12.5},
		{cell: "0.125", inCommas: 0.125, inSemicolons: 0.125},
		{cell: "1.234", inCommas: 1.234, badSemicolon: true},
		{cell: "1.234,5", badCommas: true, badSemicolon: true},
		{cell: "1,234.5", badCommas: true, badSemicolon: true},
		{cell: "-3,5", badCommas: true, inSemicolons: -3.5},
		{cell: "0", inCommas: 0, inSemicolons: 0},
		{cell: "1e3", badCommas: true, badSemicolon: true},
		{cell: "0x10", badCommas: true, badSemicolon: true},
		{cell: "NaN", badCommas: true, badSemicolon: true},
		{cell: "inf", badCommas: true, badSemicolon: true},
		{cell: "12 min", badCommas: true, badSemicolon: true},
		{cell: ",5", badCommas: true, badSemicolon: true},
	}
	for _, tt := range tests {
		t.Run(tt.cell, func(t *testing.T) {
			commas := records(t, &operationSchema, "external_id,part_external_id,operation_name,cell_name,estimated_time_minutes\n1,P,O,C,\""+tt.cell+"\"\n")
			semicolons := records(t, &operationSchema, "external_id;part_external_id;operation_name;cell_name;estimated_time_minutes\n1;P;O;C;"+tt.cell+"\n")
			for _, c := range []struct {
				in   *input[eryxon.Operation]
				want float64
				bad  bool
			}{{commas, tt.inCommas, tt.badCommas}, {semicolons, tt.inSemicolons, tt.badSemicolon}} {
				if c.bad {
					assert.Empty(t, c.in.records)
					require.Len(t, c.in.rejects, 1)
					assert.Contains(t, complaintsOf(c.in.rejects)[0], "operations.csv:2: estimated_time_minutes: ")
					continue
				}
				require.Len(t, c.in.records, 1)
				assert.Equal(t, eryxon.Some(c.want), c.in.records[0].EstimatedTimeMinutes)
			}
		})
	}
}

func TestBooleansOfAFile(t *testing.T) {
	in := records(t, &cellSchema, "external_id,name,active\n1,A,true\n2,B,NO\n3,C,1\n4,D,perhaps\n5,E,\n")
	require.Len(t, in.records, 4)
	assert.Equal(t, eryxon.Some(true), in.records[0].Active)
	assert.Equal(t, eryxon.Some(false), in.records[1].Active)
	assert.Equal(t, eryxon.Some(true), in.records[2].Active)
	assert.False(t, in.records[3].Active.IsSet())
	assert.Equal(t, []string{`cells.csv:5: active: "perhaps" is not a yes or no: want true, false, yes, no, 1 or 0`}, complaintsOf(in.rejects))
}

func TestEnumsOfAFile(t *testing.T) {
	in := records(t, &resourceSchema, "external_id,name,type,status\n1,Mill,machine,in_use\n")
	require.Len(t, in.records, 1)
	assert.Equal(t, eryxon.ResourceMachine, in.records[0].Type)
	assert.Equal(t, eryxon.Some(eryxon.ResourceInUse), in.records[0].Status)
}

// TestEveryField demands a column for each field that a record has: one that
// is not in the schema would go to Extra, and be refused there.
func TestEveryField(t *testing.T) {
	everyField(t, &cellSchema)
	everyField(t, &resourceSchema)
	everyField(t, &jobSchema)
	everyField(t, &partSchema)
	everyField(t, &operationSchema)
}

func TestFilesThatCannotBeRead(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", "jobs.csv: is empty: want a header line with the names of the columns"},
		{"only a byte order mark", "\ufeff", "jobs.csv: is empty: want a header line with the names of the columns"},
		{"UTF-16", "\xff\xfee\x00x\x00", "jobs.csv: is UTF-16: export it as UTF-8"},
		{"a name twice", "external_id,job_number,Notes,notes\n", `jobs.csv:1: columns 3 and 4 are both named "notes"`},
		{"a name missing", "external_id,job_number,,notes\n", "jobs.csv:1: column 3 has no name"},
		{"a name that is not UTF-8", "external_id,job_number,n\xf6tes\n", "jobs.csv:1: the name of column 3 is not UTF-8: export the file as UTF-8"},
		{"a column missing", "\n\nexternal_id,jobnumber\n", "jobs.csv:3: no column named job_number; there are external_id, jobnumber"},
		{"tabs", "external_id\tjob_number\n1\tJ\n", "jobs.csv:1: looks tab-separated: want commas or semicolons"},
		{"CR alone", "external_id,job_number\r1,J\r", "jobs.csv:1: a line break in the name of column 2: want lines that end with LF or CRLF"},
		{"nested records", "external_id,job_number,parts\n", `jobs.csv:1: column "parts": records don't nest in a cell, put them into parts.csv`},
		{"an open quote", "external_id,job_number\n1,\"J\n2,K\n", "jobs.csv:2: a quote is missing or too many (found in line 3)"},
		{"a quote too many", "external_id,job_number\n1,J\n2,3/4\" bolt\n", "jobs.csv:3: a quote is missing or too many: put cells"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := csvsync(t, nil, "-source", "ERP", folder(t, map[string]string{"jobs.csv": tt.text}))
			assert.Equal(t, exitNothing, got.status)
			assert.Empty(t, got.stdout)
			assert.Contains(t, got.stderr, tt.want)
			assert.Contains(t, got.stderr, "csvsync: nothing was sent\n")
		})
	}
}

func TestAllUnreadableFilesAreTold(t *testing.T) {
	got := csvsync(t, nil, folder(t, map[string]string{"jobs.csv": "", "parts.csv": "external_id\n", "cells.csv": "external_id,name\n"}))
	assert.Equal(t, exitNothing, got.status)
	assert.Equal(t, `cells.csv:1: no column named external_source: add it, or name the ERP system with -source
jobs.csv: is empty: want a header line with the names of the columns
parts.csv:1: no column named part_number, job_external_id or job_id; there are external_id
csvsync: nothing was sent
`, got.stderr)
}
