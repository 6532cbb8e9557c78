SELECT order_no || '-' || pos AS external_id, order_no AS job_external_id,
  drawing AS part_number, material, pieces AS quantity, remark AS notes
FROM work_orders
ORDER BY order_no, pos
