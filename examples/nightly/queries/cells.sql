-- Each column by the name of the field that it fills.
SELECT code AS external_id, name, color, position AS sequence, in_use AS active
FROM work_centers
ORDER BY position
