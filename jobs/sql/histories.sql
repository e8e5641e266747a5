-- name: tokens
-- DuckDB only: what events are called, in byte order.
SELECT token, ROW_NUMBER() OVER (ORDER BY token) - 1 AS number
FROM (SELECT DISTINCT $token AS token FROM events WHERE $range) AS named

-- name: listed_tokens
-- DuckDB only: the tokens in the order of their numbers.
SELECT token FROM history_tokens ORDER BY number

-- name: users
-- DuckDB only: the users in byte order, cut into parts of so many events.
SELECT
    user_id,
    CAST(ROW_NUMBER() OVER (ORDER BY user_id) - 1 AS INTEGER) AS number,
    CAST((SUM(events) OVER (ORDER BY user_id ROWS UNBOUNDED PRECEDING) - events) // $rows AS INTEGER) AS part
FROM (SELECT user_id, COUNT(*) AS events FROM events WHERE $range GROUP BY user_id) AS counted

-- name: parts
-- DuckDB only: the first and the last user of each part.
SELECT MIN(number) AS low, MAX(number) AS high FROM history_users GROUP BY part ORDER BY low

-- name: events
-- DuckDB only: events as numbers.
SELECT
    users.number AS user_number, $time AS time, $seq AS seq, CAST(tokens.number AS INTEGER) AS token_number,
    CAST($converts AS UTINYINT) AS converts $value
FROM events
INNER JOIN history_users AS users ON users.user_id = events.user_id
INNER JOIN history_tokens AS tokens ON tokens.token = $token
WHERE $range
$order

-- name: part_users
-- DuckDB only: the users of a part.
SELECT user_id FROM history_users WHERE number BETWEEN $low AND $high ORDER BY number

-- name: part_events
-- DuckDB only: the events of a part, in no order.
SELECT * FROM history_events WHERE user_number BETWEEN $low AND $high
