SELECT no AS external_id, name, kind AS type, remark AS description, tag AS identifier, hall AS location, 'available' AS status
FROM machines
ORDER BY rowid
