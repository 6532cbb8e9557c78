SELECT r.order_no || '-' || r.pos || '-' || r.step AS external_id, r.order_no || '-' || r.pos AS part_external_id,
  r.name AS operation_name, w.name AS cell_name, r.step AS sequence,
  r.minutes AS estimated_time_minutes, r.remark AS notes
FROM routings r
LEFT JOIN work_centers w ON w.code = r.work_center
ORDER BY r.order_no, r.pos, r.step
