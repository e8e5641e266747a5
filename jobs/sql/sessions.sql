-- name: numbered
-- Every event with its place in the user's history and the number of its session.
SELECT
    *,
    SUM(is_start) OVER (PARTITION BY user_id ORDER BY time, seq ROWS UNBOUNDED PRECEDING) AS session_index
FROM (
    SELECT
        *,
        CASE WHEN previous_time IS NULL OR $breaks THEN 1 ELSE 0 END AS is_start
    FROM (
        SELECT
            user_id, time, seq, event, value_minor, $opening $campaign AS campaign,
            ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY time, seq) AS event_index,
            LAG(time) OVER (PARTITION BY user_id ORDER BY time, seq) AS previous_time
            $previous_campaign
        FROM events
        WHERE $range
    ) AS following
) AS marked

-- name: grouped
-- One row for each session, with what its first event says about the channel.
SELECT
    user_id,
    CAST(session_index AS BIGINT) AS session_index,
    MIN(time) AS started_at,
    MAX(time) AS ended_at,
    COUNT(*) AS events,
    MAX(CASE WHEN is_start = 1 THEN event END) AS entry_event,
    MAX_BY(event, event_index) AS exit_event,
    MAX(CASE WHEN $is_conversion THEN 1 ELSE 0 END) = 1 AS converted,
    CAST(COALESCE(SUM(CASE WHEN $is_conversion THEN value_minor END), 0) AS BIGINT) AS value_minor
    $opening
FROM session_events
GROUP BY user_id, session_index

-- name: entries
-- Sessions as the rows that a channel is derived for; their index stands for seq.
SELECT user_id, started_at AS time, session_index AS seq, $opening FROM session_groups

-- name: sessions
-- One row for each session; the first and last event by (time, seq) are its entry and exit.
SELECT
    grouped.user_id || ':' || CAST(started_at AS STRING) || ':' || CAST(session_index AS STRING) AS session_id,
    grouped.user_id, session_index, started_at, ended_at,
    ended_at - started_at AS duration_s,
    events, entry_event, exit_event, $channel AS channel, converted, value_minor
FROM session_groups AS grouped
$channel_join
