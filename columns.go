package eryxon

import "fmt"

// This file deals with columns that a server's database lacks, or that the server lets no
// request write that can carry the record.

// jobPriority is the column that the unified endpoint takes for granted, that some
// databases lack, and that some servers let no other request write.
const jobPriority = string(EntityJobs) + ".priority"

// optionalColumn reports a field that a record can do without.
func optionalColumn(column string) bool { return column == "priority" }

// sawAbsent learns of an optional column that the server lacks, or that it lets no
// single or bulk sync write.
func (d *dialect) sawAbsent(e Entity, refusal string) {
	said := understand(refusal)
	if said.kind != ErrMissingColumn || !optionalColumn(said.field) {
		return
	}
	known := &d.absent
	if reUnwritable.MatchString(refusal) {
		known = &d.unwritable
	}
	mark(d, known, string(e)+"."+said.field, true)
}

// omitAbsent leaves out the fields whose columns the server is known to lack.
func omitAbsent(d *dialect, r any) {
	if j, ok := r.(*Job); ok && marked(d, &d.absent, jobPriority) {
		j.Priority = Opt[int]{}
	}
}

// withoutOmitted has records that are sent as documented go without what the server is
// known to lack, if they may.
func (d *delivery[R, P]) withoutOmitted(list []*sentRecord[R], ambiguous bool) []*sentRecord[R] {
	if !d.e.cfg.omitMissing || d.c.entity != EntityJobs { // no others have such fields
		return list
	}
	return d.rewrite(list, ambiguous, func(r P) error { omitAbsent(d.dialect(), r); return nil })
}

// omitUnwritable leaves out the fields that the server is known to let no request write
// that can carry the record.
func (d *delivery[R, P]) omitUnwritable(r P) {
	j, ok := any(r).(*Job)
	if !ok || !marked(d.dialect(), &d.dialect().unwritable, jobPriority) {
		return
	}
	if carried, _ := d.unifiable(r); !carried || d.e.cfg.noChecks {
		j.Priority = Opt[int]{}
	}
}

// goesOtherwise reports a record that was refused for a field that the unified endpoint
// writes, or that it may go without.
func (d *delivery[R, P]) goesOtherwise(s *sentRecord[R], refusal string) bool {
	said := understand(refusal)
	if said.kind != ErrMissingColumn || !optionalColumn(said.field) {
		return false
	}
	d.dialect().sawAbsent(d.c.entity, refusal)
	return d.e.cfg.omitMissing || d.unifiedOnly(s)
}

// unifiedOnly reports a record with a field that the server is known to let the unified
// endpoint alone write.
func (d *delivery[R, P]) unifiedOnly(s *sentRecord[R]) bool {
	j, ok := any(P(&s.record)).(*Job)
	if !ok || !j.Priority.IsSet() || !marked(d.dialect(), &d.dialect().unwritable, jobPriority) {
		return false
	}
	carried, _ := d.unifiable(P(&s.record))
	return carried
}

// lacks deals with a column that the server's database does not have.
func (d *delivery[R, P]) lacks(s *sentRecord[R], out *result, f *finding, column string) []*sentRecord[R] {
	if column == "priority" && d.c.entity == EntityJobs {
		mark(d.dialect(), &d.dialect().absent, jobPriority, true)
		return []*sentRecord[R]{s} // the endpoint writes it in every new row, other routes where it is given
	}
	if column == "sync_hash" {
		lack := missingColumnError(d.c.entity, column, f.message)
		mark(d.dialect(), &d.dialect().lacking, d.c.entity, lack)
		d.refuse([]*sentRecord[R]{s}, lack)
		return nil
	}
	d.fail(s, out, StatusFailed, recordError(f, false, d.e.co.redact))
	return nil
}

// missingColumnError tells once for all records of an entity why none can be
// written.
func missingColumnError(e Entity, column, message string) error {
	return &errReference{ErrMissingColumn, column, fmt.Sprintf(
		"the server's table %s lacks the column %s, which the server itself writes: no record of this kind can be stored until the server's owner adds it (the server said: %s)",
		e, column, printable(message))}
}

// withoutAbsent settles records that give a field whose column the server is
// known to lack, or has them go without it, and returns the others.
func (d *delivery[R, P]) withoutAbsent(list []*sentRecord[R], ambiguous bool) []*sentRecord[R] {
	if !marked(d.dialect(), &d.dialect().absent, jobPriority) {
		return list
	}
	with, without := partition(list, func(s *sentRecord[R]) bool {
		j, ok := any(P(&s.record)).(*Job)
		return ok && j.Priority.IsSet()
	})
	if d.e.cfg.omitMissing {
		return append(without, d.translateAll(with, ambiguous)...)
	}
	// They never went without it, so that none was written.
	d.refuse(with, &errReference{ErrMissingColumn, "priority",
		"priority: the server's table jobs lacks the column priority: leave it out, say WithMissingColumnsOmitted, or have the server's owner add it"})
	return without
}
