SELECT no AS external_id, job_no AS job_number, customer, due AS due_date, priority, remark AS notes
FROM sales_orders
ORDER BY no
