-- name: requests
-- The router's lines in their buckets; a line without status and code could not be read.
SELECT
    $bucket AS bucket_start,
    COALESCE(app, '(none)') AS app,
    $path AS path,
    status, code, service_ms, connect_ms,
    COALESCE(bytes, 0) AS bytes,
    status IS NOT NULL OR code IS NOT NULL AS is_request
FROM router
WHERE $range

-- name: top_paths
-- The paths that keep a row of their own; ties of their number of requests go by name.
SELECT app, path
FROM (
    SELECT
        app, path,
        ROW_NUMBER() OVER (
            PARTITION BY app ORDER BY COUNT(CASE WHEN is_request THEN 1 END) DESC, path
        ) AS place
    FROM ops_requests
    GROUP BY app, path
) AS placed
WHERE place <= $max_paths

-- name: counted
-- Requests that are alike, counted: few rows, so that percentiles need no list of all requests.
SELECT
    bucket_start, requests.app, COALESCE(top.path, '(other)') AS path, service_ms, connect_ms,
    COUNT(CASE WHEN is_request THEN 1 END) AS requests,
    COUNT(CASE WHEN is_request AND ($is_error) THEN 1 END) AS errors,
    COUNT(CASE WHEN is_request AND status >= 400 AND NOT ($is_error) THEN 1 END) AS client_errors,
    COUNT(CASE WHEN NOT is_request THEN 1 END) AS unreadable,
    SUM(bytes) AS bytes
FROM ops_requests AS requests
LEFT JOIN ops_top_paths AS top ON top.app = requests.app AND top.path = requests.path
GROUP BY bucket_start, requests.app, COALESCE(top.path, '(other)'), service_ms, connect_ms

-- name: with_totals
-- Every path of an app, and all of them together.
SELECT * FROM ops_counted
UNION ALL
SELECT
    bucket_start, app, '(all)', service_ms, connect_ms,
    SUM(requests), SUM(errors), SUM(client_errors), SUM(unreadable), SUM(bytes)
FROM ops_counted
GROUP BY bucket_start, app, service_ms, connect_ms

-- name: percentiles
-- Interpolated percentiles from counted values: the values at the two ranks around (n - 1) p.
SELECT
    bucket_start, app, path,
    MAX($ms) AS highest,
    $percentiles
FROM (
    SELECT
        bucket_start, app, path, $ms,
        SUM(n) OVER (PARTITION BY bucket_start, app, path ORDER BY $ms) AS upto,
        SUM(n) OVER (PARTITION BY bucket_start, app, path) AS total
    FROM (
        SELECT bucket_start, app, path, $ms, SUM(requests) AS n
        FROM ops_totals
        WHERE $ms IS NOT NULL AND requests > 0
        GROUP BY bucket_start, app, path, $ms
    ) AS valued
) AS ranked
GROUP BY bucket_start, app, path

-- name: operations
-- One row for each bucket, app and path.
SELECT
    sums.bucket_start, $seconds AS bucket_s, sums.app, sums.path, requests,
    CAST(requests AS DOUBLE) / CAST($seconds AS DOUBLE) AS requests_per_s,
    errors, CAST(errors AS DOUBLE) / NULLIF(requests, 0) AS error_rate,
    client_errors, CAST(client_errors AS DOUBLE) / NULLIF(requests, 0) AS client_error_rate,
    unreadable, bytes,
    service.p50 AS service_p50_ms, service.p90 AS service_p90_ms, service.p95 AS service_p95_ms,
    service.p99 AS service_p99_ms, service.highest AS service_max_ms,
    connect.p50 AS connect_p50_ms, connect.p90 AS connect_p90_ms, connect.p95 AS connect_p95_ms,
    connect.p99 AS connect_p99_ms, connect.highest AS connect_max_ms
FROM (
    SELECT
        bucket_start, app, path,
        CAST(SUM(requests) AS BIGINT) AS requests,
        CAST(SUM(errors) AS BIGINT) AS errors,
        CAST(SUM(client_errors) AS BIGINT) AS client_errors,
        CAST(SUM(unreadable) AS BIGINT) AS unreadable,
        CAST(SUM(bytes) AS BIGINT) AS bytes
    FROM ops_totals
    GROUP BY bucket_start, app, path
) AS sums
LEFT JOIN ops_service AS service
    ON service.bucket_start = sums.bucket_start AND service.app = sums.app AND service.path = sums.path
LEFT JOIN ops_connect AS connect
    ON connect.bucket_start = sums.bucket_start AND connect.app = sums.app AND connect.path = sums.path

-- name: router_codes
-- H codes.
SELECT $bucket AS bucket_start, COALESCE(app, '(none)') AS app, 'router' AS source, code
FROM router
WHERE code IS NOT NULL AND $range

-- name: dyno_codes
-- R codes.
SELECT $bucket AS bucket_start, COALESCE(app, '(none)') AS app, 'dyno' AS source, code
FROM dyno
WHERE code IS NOT NULL AND $range

-- name: app_codes
-- L codes: the log router's own lines in an app's stream.
SELECT
    $bucket AS bucket_start, COALESCE(app, '(none)') AS app, 'logplex' AS source, SUBSTR(message, 7, 3) AS code
FROM app
WHERE message LIKE 'Error L__%' AND SUBSTR(message, 8, 2) BETWEEN '00' AND '99' AND $range

-- name: codes
-- How often each code came.
SELECT bucket_start, app, source, code, COUNT(*) AS events
FROM ($parts) AS found
GROUP BY bucket_start, app, source, code

-- name: dynos
-- What happened to each process.
SELECT
    $bucket AS bucket_start,
    COALESCE(app, '(none)') AS app,
    COALESCE(process, '(none)') AS process,
    COUNT(CASE WHEN state_to = 'starting' AND state_from IN ('up', 'crashed') THEN 1 END) AS restarts,
    COUNT(CASE WHEN state_to = 'crashed' THEN 1 END) AS crashes,
    COUNT(CASE WHEN exit_status <> 0 THEN 1 END) AS failed_exits,
    COUNT(CASE WHEN code LIKE 'R%' THEN 1 END) AS r_codes
FROM dyno
WHERE $range
GROUP BY $bucket, COALESCE(app, '(none)'), COALESCE(process, '(none)')

-- name: metrics
-- What was measured; a value that is no number only counts as unreadable.
SELECT
    $bucket AS bucket_start,
    COALESCE(app, '(none)') AS app,
    COALESCE(process, '(none)') AS process,
    metric,
    COALESCE(kind, 'sample') AS kind,
    COALESCE(unit, '') AS unit,
    COUNT(value) AS samples,
    COUNT(*) - COUNT(value) AS unreadable,
    SUM(value) AS total,
    AVG(value) AS mean,
    MIN(value) AS lowest,
    MAX(value) AS highest
FROM (SELECT time, app, process, metric, kind, unit, CASE WHEN $finite THEN value END AS value FROM metrics) AS read
WHERE $range
GROUP BY
    $bucket, COALESCE(app, '(none)'), COALESCE(process, '(none)'), metric, COALESCE(kind, 'sample'),
    COALESCE(unit, '')
