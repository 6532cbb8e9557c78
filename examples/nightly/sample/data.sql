-- The records of the CSV files beside it.
INSERT INTO work_centers VALUES
  ('WC-LASER', 'Laser Cutting', '#3b82f6', 1, TRUE),
  ('WC-BEND', 'Bending', '#f59e0b', 2, TRUE),
  ('WC-MILL', 'Milling', '#10b981', 3, TRUE),
  ('WC-WELD', 'Welding', '#ef4444', 4, TRUE),
  ('WC-QC', 'Inspection', '#64748b', 5, TRUE);
INSERT INTO machines VALUES
  ('M-01', 'Fibre Laser', 'equipment', '3 kW', 'LASER-01', 'Hall 1'),
  ('M-02', 'Press Brake', 'equipment', '160 t', 'BRAKE-01', 'Hall 1'),
  ('M-03', 'CNC Mill', 'equipment', '5 axes', 'MILL-01', 'Hall 2'),
  ('F-01', 'Welding Fixture A', 'fixture', 'Frames, up to 2 m', 'FIX-A', 'Hall 2');
INSERT INTO sales_orders VALUES
  ('SO-1001', 'JOB-1001', 'Müller & Söhne GmbH', '2026-12-04', 1, NULL),
  ('SO-1002', 'JOB-1002', 'Nordlicht Yachtbau', '2026-12-11', 3, 'Call before delivery'),
  ('SO-1003', 'JOB-1003', 'Acme Corp', '2026-12-18', 5, NULL),
  ('SO-1004', 'JOB-1004', 'Țesătoria Iași', '2027-01-15', 5, NULL),
  ('SO-1005', 'JOB-1005', 'Bäckerei Löffelholz', '2027-01-29', 9, NULL);
INSERT INTO work_orders VALUES
  ('SO-1001', 10, 'FRAME-A', 'Steel S235', 4, NULL),
  ('SO-1001', 20, 'COVER-A', 'Steel 304', 4, 'Deburr all edges'),
  ('SO-1002', 10, 'BRACKET-7', 'Aluminium 6061', 120, NULL),
  ('SO-1002', 20, 'HINGE-7', 'Steel 316', 60, NULL),
  ('SO-1003', 10, 'HOUSING-2', 'Aluminium 6061', 25, NULL),
  ('SO-1004', 10, 'GUARD-1', 'Steel S235', 2, NULL),
  ('SO-1004', 20, 'PLATE-1', 'Steel S235', 8, NULL),
  ('SO-1005', 10, 'TRAY-40', 'Steel 304', 200, NULL);
INSERT INTO routings VALUES
  ('SO-1001', 10, 10, 'Cut frame', 'WC-LASER', 30, NULL),
  ('SO-1001', 10, 20, 'Bend frame', 'WC-BEND', 25, NULL),
  ('SO-1001', 10, 30, 'Weld frame', 'WC-WELD', 90, 'Fixture A'),
  ('SO-1001', 20, 10, 'Cut cover', 'WC-LASER', 12, NULL),
  ('SO-1001', 20, 20, 'Bend cover', 'WC-BEND', 18, NULL),
  ('SO-1002', 10, 10, 'Cut bracket', 'WC-LASER', 60, NULL),
  ('SO-1002', 10, 20, 'Bend bracket', 'WC-BEND', 75, NULL),
  ('SO-1002', 20, 10, 'Mill hinge', 'WC-MILL', 240, NULL),
  ('SO-1002', 20, 20, 'Inspect hinge', 'WC-QC', 30, NULL),
  ('SO-1003', 10, 10, 'Mill pocket', 'WC-MILL', 300, NULL),
  ('SO-1003', 10, 20, 'Mill bore Ø 40', 'WC-MILL', 110, NULL),
  ('SO-1003', 10, 30, 'Inspect bore', 'WC-QC', 25, NULL),
  ('SO-1004', 10, 10, 'Cut guard', 'WC-LASER', 8, NULL),
  ('SO-1004', 10, 20, 'Bend guard 90°', 'WC-BEND', 10, NULL),
  ('SO-1004', 20, 10, 'Cut plate', 'WC-LASER', 9, NULL),
  ('SO-1004', 20, 20, 'Weld nuts', 'WC-WELD', 35, NULL),
  ('SO-1005', 10, 10, 'Cut tray', 'WC-LASER', 100, NULL),
  ('SO-1005', 10, 20, 'Bend tray', 'WC-BEND', 160, NULL);
