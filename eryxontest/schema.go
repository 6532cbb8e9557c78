package eryxontest

import (
	"strconv"
	"strings"
	"sync"
)

// column is one column of a table of a release in the field.
type column struct {
	name    string
	kind    string // text int num bool time uuid json list gen, job_status task_status
	notNull bool
	def     any // where a row leaves it out
}

// schema is a table's columns, in the order in which rows come back.
type schema struct {
	table   Entity
	columns []column
	index   map[string]int
}

func (t *schema) column(name string) (column, bool) {
	i, ok := t.index[name]
	if !ok {
		return column{}, false
	}
	return t.columns[i], true
}

// tableText is each table as both releases have it: name:kind, "!" for NOT
// NULL, "=" and the default.
var tableText = map[Entity]string{
	Jobs: `id:uuid! tenant_id:uuid! job_number:text! customer:text due_date:time due_date_override:time
		status:job_status=not_started current_cell_id:uuid notes:text metadata:json created_at:time updated_at:time
		search_vector:gen delivery_address:text delivery_city:text delivery_postal_code:text delivery_country:text=NL
		delivery_lat:num delivery_lng:num total_weight_kg:num total_volume_m3:num package_count:int=1
		external_id:text external_source:text synced_at:time sync_hash:text deleted_at:time deleted_by:uuid`,
	Parts: `id:uuid! tenant_id:uuid! job_id:uuid! parent_part_id:uuid part_number:text! material:text! quantity:int=1
		status:job_status=not_started current_cell_id:uuid file_paths:list notes:text metadata:json created_at:time
		updated_at:time image_paths:list=[] search_vector:gen material_lot:text material_supplier:text
		material_cert_number:text weight_kg:num length_mm:num width_mm:num height_mm:num drawing_no:text
		cnc_program_name:text is_bullet_card:bool=false external_id:text external_source:text synced_at:time
		sync_hash:text deleted_at:time deleted_by:uuid`,
	Operations: `id:uuid! tenant_id:uuid! part_id:uuid! cell_id:uuid! assigned_operator_id:uuid operation_name:text!
		sequence:int! estimated_time:int! actual_time:int=0 status:task_status=not_started completion_percentage:int=0
		notes:text created_at:time updated_at:time completed_at:time search_vector:gen metadata:json icon_name:text
		setup_time:num=0 run_time_per_unit:num=0 wait_time:num=0 changeover_time:num=0 planned_start:time
		planned_end:time external_id:text external_source:text synced_at:time deleted_at:time deleted_by:uuid`,
	Cells: `id:uuid! tenant_id:uuid! name:text! description:text color:text image_url:text sequence:int!
		active:bool=true created_at:time updated_at:time wip_limit:int wip_warning_threshold:int
		enforce_wip_limit:bool=false show_capacity_warning:bool=true icon_name:text capacity_hours_per_day:num=8
		external_id:text external_source:text synced_at:time deleted_at:time deleted_by:uuid`,
	Resources: `id:uuid! tenant_id:uuid! name:text! type:text! description:text identifier:text location:text
		status:text=available metadata:json active:bool=true created_at:time updated_at:time external_id:text
		external_source:text synced_at:time deleted_at:time deleted_by:uuid`,
}

// extraText is what a release has on top of that.
var extraText = map[Release]map[Entity]string{
	V01: {
		Jobs: "priority:int=0", Operations: "sync_hash:text", Cells: "sync_hash:text", Resources: "sync_hash:text",
	},
	V08: {
		Jobs: "priority:int=0", Operations: "status_before_hold:task_status sync_hash:text",
		Cells: "sync_hash:text", Resources: "sync_hash:text",
	},
	V011: {
		Jobs: "priority:int=0", Operations: "status_before_hold:task_status sync_hash:text",
		Cells: "sync_hash:text", Resources: "sync_hash:text",
	},
	V08AsMigrated: {Operations: "status_before_hold:task_status"},
}

// schemas are parsed once, and only if a release in the field is asked for.
var schemas = sync.OnceValue(func() map[Release]*[5]*schema {
	out := map[Release]*[5]*schema{}
	for release, extra := range extraText {
		tables := &[5]*schema{}
		for i, e := range allEntities {
			tables[i] = parseSchema(e, tableText[e]+" "+extra[e])
		}
		out[release] = tables
	}
	return out
})

func parseSchema(e Entity, s string) *schema {
	t := &schema{table: e, index: map[string]int{}}
	for word := range strings.FieldsSeq(s) {
		name, kind, _ := strings.Cut(word, ":")
		kind, def, hasDefault := strings.Cut(kind, "=")
		kind, notNull := strings.CutSuffix(kind, "!")
		c := column{name: name, kind: kind, notNull: notNull}
		if hasDefault {
			c.def = parseDefault(kind, def)
		}
		t.index[name] = len(t.columns)
		t.columns = append(t.columns, c)
	}
	return t
}

func parseDefault(kind, def string) any {
	switch kind {
	case "int", "num":
		f, _ := strconv.ParseFloat(def, 64)
		return f
	case "bool":
		return def == "true"
	case "list":
		return []any{}
	}
	return def
}

// schema is the entity's table in the server's release; nil if that is the
// documented one, which has no columns.
func (s *Server) schema(e Entity) *schema {
	if s.cfg.release == Documented {
		return nil
	}
	tables := schemas()[s.cfg.release]
	if tables == nil {
		return nil
	}
	return tables[e.index()]
}

// defaultTenant is the tenant of every row where [WithTenant] does not say.
const defaultTenant = "00000001-0000-4000-8000-000000000001"

// value is a column of a row.
func (c column) value(r *record) any {
	switch c.name {
	case "id":
		return r.id
	case "tenant_id":
		return r.tenant
	case "deleted_at":
		if r.deleted {
			return stamp(r.deletedAt)
		}
	}
	if v, ok := r.fields[c.name]; ok {
		return v
	}
	switch c.name {
	case "created_at":
		return stamp(r.created)
	case "updated_at":
		return stamp(r.updated)
	}
	return c.def
}

// appendRow appends the whole row as JSON.
func (t *schema) appendRow(b []byte, r *record) []byte {
	b = append(b, '{')
	for _, c := range t.columns {
		b = appendMember(b, c.name, c.value(r))
	}
	return append(b, '}')
}
