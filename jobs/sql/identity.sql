-- name: first
-- The canonical id of every anonymous id: the user of its first edge by (time, user_id).
SELECT anonymous_id AS id, user_id AS canonical
FROM (
    SELECT
        anonymous_id, user_id,
        ROW_NUMBER() OVER (PARTITION BY anonymous_id ORDER BY time, user_id) AS place
    FROM identity_edges
) AS ordered
WHERE place = 1

-- name: neighbours
-- Every pair of ids that an edge joins, both ways.
SELECT DISTINCT anonymous_id AS id, user_id AS other FROM identity_edges WHERE anonymous_id <> user_id
UNION
SELECT DISTINCT user_id AS id, anonymous_id AS other FROM identity_edges WHERE anonymous_id <> user_id

-- name: first_labels
-- The smallest id of each id's neighbourhood.
SELECT id, CASE WHEN MIN(other) < id THEN MIN(other) ELSE id END AS label
FROM identity_neighbours
GROUP BY id

-- name: next_labels
-- One round: the smallest label among an id, its neighbours, and whoever its label stands for.
SELECT id, MIN(label) AS label
FROM (
    SELECT id, label FROM $labels
    UNION ALL
    SELECT near.id, others.label
    FROM identity_neighbours AS near
    INNER JOIN $labels AS others ON others.id = near.other
    UNION ALL
    SELECT own.id, others.label
    FROM $labels AS own
    INNER JOIN $labels AS others ON others.id = own.label
) AS offered
GROUP BY id

-- name: changes
-- How many labels the last round changed.
SELECT COUNT(*) AS n FROM $labels AS own INNER JOIN $earlier AS old ON old.id = own.id WHERE old.label <> own.label

-- name: graph
-- The canonical id of every id that an edge names: the smallest of its component, by bytes.
SELECT id, label AS canonical FROM $labels

-- name: stitched
-- A table with every known id replaced by its canonical one.
SELECT $columns
FROM $relation AS rows_given
LEFT JOIN identity_map ON identity_map.id = rows_given.$user

-- name: resequenced
-- Events of several ids of one user that share second and seq: counted anew in their old order.
SELECT $columns
FROM (
    SELECT
        $others, ROW_NUMBER() OVER (PARTITION BY $user, time ORDER BY seq, former_id) AS seq
    FROM $relation
) AS counted
