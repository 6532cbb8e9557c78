-- A small ERP database, as it might be.
CREATE TABLE work_centers (code TEXT PRIMARY KEY, name TEXT NOT NULL, color TEXT, position INTEGER, in_use BOOLEAN NOT NULL);
CREATE TABLE machines (no TEXT PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL, remark TEXT, tag TEXT, hall TEXT);
CREATE TABLE sales_orders (no TEXT PRIMARY KEY, job_no TEXT NOT NULL, customer TEXT, due DATE, priority INTEGER, remark TEXT);
CREATE TABLE work_orders (order_no TEXT REFERENCES sales_orders, pos INTEGER, drawing TEXT NOT NULL, material TEXT, pieces INTEGER, remark TEXT,
  PRIMARY KEY (order_no, pos));
CREATE TABLE routings (order_no TEXT, pos INTEGER, step INTEGER, name TEXT NOT NULL, work_center TEXT REFERENCES work_centers, minutes NUMERIC, remark TEXT,
  PRIMARY KEY (order_no, pos, step), FOREIGN KEY (order_no, pos) REFERENCES work_orders);
