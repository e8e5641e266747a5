-- name: no_ingested
-- What came in, when nobody says.
SELECT * FROM (
    SELECT
        CAST(0 AS BIGINT) AS time, '' AS database, '' AS table_name, CAST(0 AS BIGINT) AS rows_in,
        CAST(0 AS BIGINT) AS bytes_in
) AS nothing WHERE FALSE

-- name: no_stored
-- Sizes, when nobody measures.
SELECT * FROM (
    SELECT CAST(0 AS BIGINT) AS time, '' AS database, '' AS table_name, CAST(0 AS BIGINT) AS bytes_stored
) AS nothing WHERE FALSE

-- name: no_queried
-- Queries, when nobody asks.
SELECT * FROM (
    SELECT
        '' AS query_id, CAST(0 AS BIGINT) AS time, '' AS database, '' AS table_name,
        CAST(0 AS BIGINT) AS bytes_scanned, 0e0 AS cpu_s
) AS nothing WHERE FALSE

-- name: query_days
-- The processor time of a query belongs to its tables in proportion to what it read of them.
SELECT
    day, database, table_name, query_id, bytes_scanned,
    cpu_s * CASE
        WHEN whole_bytes > 0 THEN CAST(bytes_scanned AS DOUBLE) / CAST(whole_bytes AS DOUBLE)
        ELSE 1e0 / CAST(parts AS DOUBLE)
    END AS cpu_s
FROM (
    SELECT
        $day AS day, COALESCE(database, '(none)') AS database, COALESCE(table_name, '(none)') AS table_name,
        query_id, COALESCE(bytes_scanned, 0) AS bytes_scanned,
        SUM(COALESCE(bytes_scanned, 0)) OVER (PARTITION BY query_id) AS whole_bytes,
        COUNT(*) OVER (PARTITION BY query_id) AS parts,
        COALESCE(MAX(cpu_s) OVER (PARTITION BY query_id), 0e0) AS cpu_s
    FROM queried
) AS shared

-- name: sizes
-- The last size that was measured on each day, and the day on which the next one stands.
SELECT
    day, database, table_name, bytes_stored,
    COALESCE(LEAD(day) OVER (PARTITION BY database, table_name ORDER BY day), $last_day + 1) AS until
FROM (
    SELECT $day AS day, database, table_name, MAX_BY(bytes_stored, time) AS bytes_stored
    FROM stored
    GROUP BY $day, database, table_name
) AS measured

-- name: stored_days
-- A size stands on every day until the next one.
SELECT day_row AS day, database, table_name, bytes_stored
FROM (
    SELECT database, table_name, bytes_stored, $days AS day_row
    FROM usage_sizes
    WHERE until > $first_day AND day <= $last_day
) AS standing

-- name: times
-- Every meter's times.
SELECT time FROM ingested UNION ALL SELECT time FROM stored UNION ALL SELECT time FROM queried

-- name: usage
-- One row for each day and table that anything happened to, or that took up space.
SELECT
    $day_start AS day,
    database,
    table_name AS $table,
    CAST(SUM(rows_in) AS BIGINT) AS rows_in,
    CAST(SUM(bytes_in) AS BIGINT) AS bytes_in,
    MAX(bytes_stored) AS bytes_stored,
    CAST(SUM(queries) AS BIGINT) AS queries,
    CAST(SUM(bytes_scanned) AS BIGINT) AS bytes_scanned,
    SUM(cpu_s) AS cpu_s
FROM (
    SELECT
        $day AS day_number, database, table_name, rows_in, bytes_in, CAST(NULL AS BIGINT) AS bytes_stored,
        0 AS queries, 0 AS bytes_scanned, 0e0 AS cpu_s
    FROM ingested
    UNION ALL
    SELECT day, database, table_name, 0, 0, bytes_stored, 0, 0, 0e0
    FROM usage_stored_days
    UNION ALL
    SELECT day, database, table_name, 0, 0, NULL, COUNT(DISTINCT query_id), SUM(bytes_scanned), SUM(cpu_s)
    FROM usage_query_days
    GROUP BY day, database, table_name
) AS meters
WHERE day_number >= $first_day AND day_number <= $last_day
GROUP BY day_number, database, table_name

-- name: negative
-- Rows of a meter that run backwards.
SELECT COUNT(*) AS n FROM $relation WHERE $negative
