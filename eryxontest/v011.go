package eryxontest

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// V011 shares the code of v0.8. It refuses what it does not want written before
// it looks at anything else, and it believes the database.

// v011Writable are the fields that may be written.
var v011Writable = map[Entity]string{
	Jobs: `actual_duration completed_at current_cell_id customer delivery_address delivery_city delivery_country
		delivery_lat delivery_lng delivery_postal_code due_date due_date_override external_id external_source job_number
		metadata notes package_count paused_at resumed_at started_at status total_volume_m3 total_weight_kg`,
	Parts: `cnc_program_name current_cell_id drawing_no external_id external_source file_paths height_mm image_paths
		is_bullet_card job_id length_mm material material_cert_number material_lot material_supplier metadata notes
		parent_part_id part_number quantity status weight_kg width_mm`,
	Operations: `assigned_operator_id cell_id changeover_time estimated_time external_id external_source icon_name
		metadata notes operation_name part_id planned_end planned_start run_time_per_unit sequence setup_time wait_time`,
	Cells: `active capacity_hours_per_day color description enforce_wip_limit external_id external_source icon_name
		image_url name sequence show_capacity_warning wip_limit wip_warning_threshold`,
	Resources: `active description external_id external_source identifier location metadata name status type`,
}

// v011Refuses is what V011 finds wrong with a value that is to be written, or
// "". text is the value as it was sent: of several fields the first is named.
func (s *Server) v011Refuses(e Entity, v any, text string) string {
	if s.cfg.release != V011 {
		return ""
	}
	rec, ok := v.(map[string]any)
	if !ok {
		return "Request body must be an object"
	}
	writable := strings.Fields(v011Writable[e])
	for _, name := range memberNames(text) {
		if !slices.Contains(writable, name) {
			return "Field " + name + " is not writable"
		}
	}
	for _, l := range links[e] {
		v := rec[l.column]
		if v == nil {
			continue
		}
		id, _ := v.(string)
		if !isUUID(id) {
			return l.column + " must be a UUID"
		}
		if s.table(l.of).byID[strings.ToLower(id)] == nil {
			s.orphan(e, keyOf(rec), l.of.singular()+" "+id)
			return l.column + " does not reference a record in this tenant"
		}
	}
	return ""
}

// v011Page is the limit and the offset of a list. V011 wants whole numbers.
func (c *call) v011Page() (limit, offset int, ok bool) {
	number := func(name string, without float64) float64 {
		if !c.query.Has(name) {
			return without
		}
		text := strings.TrimSpace(c.query.Get(name))
		if text == "" {
			return 0 // as JavaScript has it
		}
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return math.NaN()
		}
		return f
	}
	l, o := number("limit", 100), number("offset", 0)
	if l != math.Trunc(l) || o != math.Trunc(o) || o < 0 || math.IsInf(l, 0) || math.IsInf(o, 0) {
		return 0, 0, false
	}
	return int(min(l, math.MaxInt32)), int(min(o, math.MaxInt32)), true
}
