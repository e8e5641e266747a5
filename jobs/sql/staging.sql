-- name: typed
-- The contract's columns in their types.
SELECT $items FROM $relation

-- name: pinned
-- A pinned version of a table: its logical columns, and only the rows that are part of it.
SELECT $items FROM $relation WHERE $condition

-- name: misread
-- Texts of a CSV column that do not read as its type, with one of them.
SELECT MIN($name) AS example, COUNT(*) AS n
FROM $relation
WHERE TRIM($name) <> '' AND ($misread)

-- name: fractions
-- How many numbers of a CSV column are not written as integers.
SELECT COUNT(*) AS n
FROM $relation
WHERE $name LIKE '%.%' OR LOWER($name) LIKE '%e%'

-- name: reasons
-- Rows by the first reason to exclude them; -1 is none.
SELECT reason, COUNT(*) AS n
FROM (SELECT CASE $cases ELSE -1 END AS reason FROM $relation) AS judged
GROUP BY reason

-- name: facts
-- How many rows there are, whether none is to be excluded, and the range of the key's last column.
SELECT COUNT(*) AS n, $clean AS clean, MIN($last) AS low, MAX($last) AS high FROM $relation

-- name: increases
-- Whether every row has a larger number than the one read before it.
SELECT BOOL_AND(increases) AS increases FROM (SELECT $increases AS increases FROM $relation) AS compared

-- name: kept
-- Rows that no reason excludes.
SELECT * FROM $relation WHERE COALESCE(NOT ($refused), TRUE)

-- name: bounds
-- The range of an integer column.
SELECT MIN($column) AS low, MAX($column) AS high FROM $relation

-- name: one_number
-- An aggregate.
SELECT $number AS n FROM $relation

-- name: distinct_keys
-- How many rows differ in the unique key.
SELECT COUNT(*) AS n FROM (SELECT 1 FROM $relation GROUP BY $keys) AS keys

-- name: count
-- How many rows there are.
SELECT COUNT(*) AS n FROM $relation

-- name: deduplicated
-- One row for each unique key: the smallest in column order, so that it is the same one on every engine.
SELECT $columns
FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY $keys ORDER BY $order) AS copy_number FROM $relation
) AS numbered
WHERE copy_number = 1

-- name: result
-- An output in its contract's columns and order.
SELECT $columns FROM $relation ORDER BY $order

-- name: latest
-- The last second that a table holds.
SELECT MAX(time) AS latest FROM $relation

-- name: time_range
-- The first and the last second that a table holds.
SELECT MIN(time) AS earliest, MAX(time) AS latest FROM $relation

-- name: negative_counts
-- Rows of aggregated paths with impossible counts.
SELECT COUNT(*) AS n FROM paths WHERE conversions < 0 OR COALESCE(nulls, 0) < 0

-- name: named
-- One of these names that a row carries, if any does.
SELECT MIN($column) AS name FROM $relation WHERE $column IN ($names)

-- name: shipped
-- A small table that comes with the library.
SELECT * FROM (VALUES $rows) AS shipped($columns)
