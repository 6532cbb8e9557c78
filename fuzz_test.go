package eryxon

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// bodies seeds the fuzzing of answers with those of the recorded shapes.
func bodies(f *testing.F) {
	for _, s := range []string{
		createdJob, updatedJob, `{"success":true,"data":{"action":"created","job":{"id":"u","external_id":"A","external_source":"SAP","deleted_at":null}}}`,
		`{"success":true,"data":{"job":{"id":"u","external_id":"A"},"action":"updated"}}`,
		`{"success":true,"data":{"total":2,"created":1,"updated":1,"errors":0,"results":[{"external_id":"A","id":"1","action":"created"},{"external_id":"B","id":"2","action":"updated"}]}}`,
		`{"success":true,"data":{"results":{"created":1,"updated":0,"failed":1,"errors":[{"item":{"external_id":"A"},"error":[{"field":"f","message":"m","value":1}]}]},"total":2}}`,
		`{"success":true,"data":{"total":1,"results":[{"external_id":4711,"action":"created"}]}}`,
		`{"success":true,"data":{"results":[{"external_id":"A","external_id":"B","action":"created"}]},"data":{}}`,
		"{\"success\":true,\"data\":{\"results\":[{\"external_id\":\"\\ud800\",\"action\":\"created\",\"x\":\"\xff\"}]}}",
		`{"success":false,"error":{"code":"VALIDATION_ERROR","message":"m","details":[{"field":"f"}]}}`,
		`{"success":false,"error":"text"}`, `{"success":false,"error":{"details":{"limitType":"jobs"}}}`,
		`null`, `[]`, `""`, `1`, `{}`, ``, `{"success":true,"data":{"results":[`, `{"success":true}{"success":true}`, `{"success":"true","data":[]}`,
	} {
		f.Add([]byte(s))
	}
}

// sentJobs are records as a chunk holds them.
func sentJobs(ids ...string) []*sentRecord[Job] {
	var list []*sentRecord[Job]
	for i, id := range ids {
		list = append(list, &sentRecord[Job]{record: job(id), key: Key{"SAP", id}, index: i})
	}
	return list
}

// FuzzReadBulk: whatever a server answers, each record gets exactly one
// finding, and none is a success that the answer doesn't name.
func FuzzReadBulk(f *testing.F) {
	bodies(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := readBulk(body)
		if err == nil && a.success != nil && *a.success && !a.hasData {
			t.Error("a success without data was taken")
		}
		a.strike(func(b []byte) []byte { return b })
		sent := sentJobs("A", "B", "4711", `q"uote`)
		for _, ambiguous := range []bool{false, true} {
			found := reconcile(sent, a, ambiguous)
			if len(found) != len(sent) {
				t.Fatalf("%d findings for %d records", len(found), len(sent))
			}
			for i := range found {
				checkFinding(t, &found[i], sent[i].key, a, body, ambiguous)
			}
		}
	})
}

func checkFinding(t *testing.T, f *finding, key Key, a *bulkAnswer, body []byte, ambiguous bool) {
	t.Helper()
	if !f.status.Success() {
		if recordError(f, false, func(b []byte) []byte { return b }) == nil {
			t.Errorf("%v: no success, and no error", key)
		}
		return
	}
	if ambiguous && f.status == StatusUpdated {
		t.Errorf("%v: updated, although a lost attempt may have created it", key)
	}
	named := 0
	for i := range a.entries {
		e := &a.entries[i]
		if string(e.externalID) != key.ExternalID {
			continue
		}
		named++
		if !actionStatus(e.action).Success() || e.message != "" || len(e.details) > 0 || e.source != nil && string(e.source) != key.Source {
			t.Errorf("%v: a success, although the answer says %+v", key, e)
		}
	}
	if named != 1 {
		t.Errorf("%v: a success, and the answer names it %d times: %q", key, named, body)
	}
	if !json.Valid(body) {
		// Invalid UTF-8 and repeated names are allowed for; this parser
		// allows for them, too. What it refuses is no JSON at all.
		if _, err := readBulk(body); err == nil {
			t.Errorf("a success was read out of what is no JSON: %q", body)
		}
	}
}

// FuzzReadSingle: an answer is a success only of the record that it names.
func FuzzReadSingle(f *testing.F) {
	bodies(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := readSingle(body, "job")
		if err != nil || !a.succeeded() {
			return
		}
		a.strike(func(b []byte) []byte { return b })
		for _, key := range []Key{{"SAP", "A"}, {"SAP", "4711"}} {
			for _, httpStatus := range []int{200, 201} {
				status, id, complaint := a.judge(key, httpStatus, true)
				if status.Success() != (complaint == "") {
					t.Errorf("%v: %v, and the complaint %q", key, status, complaint)
				}
				if !status.Success() {
					continue
				}
				if status == StatusUpdated || status == StatusUnchanged {
					t.Errorf("%v: %v, although a lost attempt may have created it", key, status)
				}
				if a.externalID != "" && a.externalID != key.ExternalID || a.source != "" && a.source != key.Source {
					t.Errorf("%v: a success of another record: %q", key, body)
				}
				if a.externalID == "" && id == "" {
					t.Errorf("%v: a success of nobody: %q", key, body)
				}
			}
		}
		if row := decodeRow[JobRow](a.row); row == nil && a.row != nil {
			t.Errorf("a row that can't be decoded was taken for one: %q", a.row)
		}
	})
}

// FuzzReadEnvelope: nothing that a server sends is too odd for an error.
func FuzzReadEnvelope(f *testing.F) {
	bodies(f)
	co := &core{redact: func(b []byte) []byte { return strike(b, testKey) }}
	f.Fuzz(func(t *testing.T, body []byte) {
		env, err := readEnvelope(body)
		if err == nil && !json.Valid(body) {
			t.Errorf("%q is no JSON", body)
		}
		for _, status := range []int{200, 400, 429, 500, 546} {
			cl := call{method: "PUT", path: "/api-jobs/sync", records: 1, decode: func(body []byte) (*envelope, error) {
				a, err := readSingle(body, "job")
				return &a.envelope, err
			}}
			v := co.judgeAnswer(&cl, &result{status: status, requestID: "r", attempts: 1}, body, limitReport{left: -1, retryAfter: -1}, noon)
			if (v.err == nil) != (v.fate == fateAnswered) {
				t.Errorf("fate %d with the error %v", v.fate, v.err)
			}
			if v.fate == fateAnswered && (status >= 300 || env.success == nil || !*env.success) {
				t.Errorf("%d %q was taken for an answer", status, body)
			}
			if v.err != nil {
				text := v.err.Error()
				if strings.ContainsAny(text, "\n\r\x00") || strings.Contains(text, testKey) {
					t.Errorf("unfit for a log: %q", text)
				}
			}
		}
	})
}

// FuzzRecordUnmarshal: what is read as a record and can be written is the same
// record when it is read again.
func FuzzRecordUnmarshal(f *testing.F) {
	for _, s := range []string{documentedJobJSON, documentedNestedJSON, documentedPartJSON, documentedOperationJSON, documentedCellJSON, documentedResourceJSON,
		`{"external_id":"A","x":1e400,"y":123456789012345678901234567890,"z":{"a":[null,"\ud800"]}}`, `{"due_date":null,"parts":[{}],"a":"<"}`, `{"due_date":"2025-02-30"}`, `null`, `{`, `[]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		again[Job](t, data)
		again[Part](t, data)
		again[Operation](t, data)
		again[Cell](t, data)
		again[Resource](t, data)
	})
}

func again[R any](t *testing.T, data []byte) {
	t.Helper()
	var first, second R
	if json.Unmarshal(data, &first) != nil {
		return
	}
	raw, err := json.Marshal(first)
	if err != nil {
		return // refused by the local rules
	}
	if err := json.Unmarshal(raw, &second); err != nil {
		t.Fatalf("%q was written as %s: %v", data, raw, err)
	}
	once, err := json.Marshal(second)
	if err != nil || string(once) != string(raw) {
		t.Fatalf("%q: %s became %s, %v", data, raw, once, err)
	}
	if !reflect.DeepEqual(normal(first), normal(second)) {
		t.Fatalf("%q: %+v became %+v", data, first, second)
	}
}

// normal takes the difference between an empty list and none away.
func normal[R any](r R) R {
	switch r := any(&r).(type) {
	case *Job:
		if len(r.Parts) == 0 {
			r.Parts = nil
		}
		for i := range r.Parts {
			r.Parts[i] = normal(r.Parts[i])
		}
	case *Part:
		if len(r.Operations) == 0 {
			r.Operations = nil
		}
	}
	return r
}
