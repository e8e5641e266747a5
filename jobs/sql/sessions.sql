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
            user_id, time, seq, event, value_minor, $campaign AS campaign,
            ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY time, seq) AS event_index,
            LAG(time) OVER (PARTITION BY user_id ORDER BY time, seq) AS previous_time
            $previous_campaign
        FROM events
        WHERE $range
    ) AS following
) AS marked

-- name: entries
-- The events that open a session, with what a channel is derived from.
SELECT events.*
FROM events
INNER JOIN session_events AS opening
    ON opening.user_id = events.user_id AND opening.time = events.time AND opening.seq = events.seq
WHERE opening.is_start = 1

-- name: sessions
-- One row for each session; the first and last event by (time, seq) are its entry and exit.
SELECT
    user_id || ':' || CAST(started_at AS STRING) || ':' || CAST(session_index AS STRING) AS session_id,
    user_id, session_index, started_at, ended_at,
    ended_at - started_at AS duration_s,
    events, entry_event, exit_event, channel, converted, value_minor
FROM (
    SELECT
        grouped.user_id, session_index, started_at, ended_at, events, entry_event, exit_event,
        COALESCE(entry.channel, 'direct') AS channel, converted, value_minor
    FROM (
        SELECT
            user_id,
            CAST(session_index AS BIGINT) AS session_index,
            MIN(time) AS started_at,
            MAX(time) AS ended_at,
            MIN(CASE WHEN is_start = 1 THEN seq END) AS entry_seq,
            COUNT(*) AS events,
            MAX(CASE WHEN is_start = 1 THEN event END) AS entry_event,
            MAX_BY(event, event_index) AS exit_event,
            MAX(CASE WHEN $is_conversion THEN 1 ELSE 0 END) = 1 AS converted,
            CAST(COALESCE(SUM(CASE WHEN $is_conversion THEN value_minor END), 0) AS BIGINT) AS value_minor
        FROM session_events
        GROUP BY user_id, session_index
    ) AS grouped
    $channel_join
) AS named
