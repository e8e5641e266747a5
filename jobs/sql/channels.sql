-- name: normalized
-- Lower-case, trimmed, empty as NULL; the referrer's host without user, port and www.; NULL when it is our own.
SELECT
    user_id, time, seq, channel,
    NULLIF(LOWER(TRIM(utm_source)), '') AS utm_source,
    NULLIF(LOWER(TRIM(utm_medium)), '') AS utm_medium,
    NULLIF(LOWER(TRIM(utm_campaign)), '') AS utm_campaign,
    NULLIF(TRIM(gclid), '') AS gclid,
    NULLIF(TRIM(msclkid), '') AS msclkid,
    NULLIF(TRIM(fbclid), '') AS fbclid,
    CASE WHEN host IN ($own_hosts) THEN NULL ELSE host END AS host
FROM (
    SELECT
        *,
        NULLIF(
            regexp_replace(
                split_part(regexp_replace(
                    split_part(split_part(split_part(
                        regexp_replace(LOWER(TRIM(referrer)), '^([a-z][a-z0-9+.-]*:)?//', ''),
                        '/', 1), '?', 1), '#', 1),
                    '^.*@', ''), ':', 1),
                '^www[.]', ''),
            '') AS host
    FROM $relation
) AS parsed

-- name: sourced
-- Source and medium: utm tags as given, else a click id, else an outside referrer, else direct.
SELECT
    *,
    CASE
        WHEN utm_source IS NOT NULL OR utm_medium IS NOT NULL THEN utm_source
        WHEN gclid IS NOT NULL THEN 'google'
        WHEN msclkid IS NOT NULL THEN 'bing'
        WHEN fbclid IS NOT NULL THEN 'facebook'
        WHEN host IS NOT NULL THEN host
        ELSE '(direct)'
    END AS source,
    CASE
        WHEN utm_source IS NOT NULL OR utm_medium IS NOT NULL THEN 'utm'
        WHEN COALESCE(gclid, msclkid, fbclid) IS NOT NULL THEN 'click'
        WHEN host IS NOT NULL THEN 'referrer'
        ELSE 'direct'
    END AS evidence
FROM channel_normalized

-- name: kinds
-- What each distinct source is: it, or a domain above it, is listed.
SELECT
    source,
    MAX(CASE WHEN kind = 'search' THEN 1 ELSE 0 END) AS is_search,
    MAX(CASE WHEN kind = 'shopping' THEN 1 ELSE 0 END) AS is_shopping,
    MAX(CASE WHEN kind = 'social' THEN 1 ELSE 0 END) AS is_social,
    MAX(CASE WHEN kind = 'video' THEN 1 ELSE 0 END) AS is_video
FROM (SELECT DISTINCT source FROM channel_sourced WHERE source IS NOT NULL) AS seen
INNER JOIN channel_sources
    ON seen.source = LOWER(channel_sources.host)
    OR (seen.source LIKE '%.%' AND seen.source LIKE '%.' || LOWER(channel_sources.host))
GROUP BY source

-- name: grouped
-- The first rule that matches names the channel. A channel that the row already carries stays.
SELECT
    user_id, time, seq,
    COALESCE(
        NULLIF(TRIM(channel), ''),
        CASE
            WHEN COALESCE(utm_campaign, '') LIKE '%cross-network%' THEN 'cross_network'
            WHEN is_paid AND (is_shopping = 1 OR COALESCE(utm_campaign, '') LIKE '%shop%') THEN 'paid_shopping'
            WHEN (is_paid AND is_search = 1) OR gclid IS NOT NULL OR msclkid IS NOT NULL THEN 'paid_search'
            WHEN is_paid AND is_social = 1 THEN 'paid_social'
            WHEN is_paid AND is_video = 1 THEN 'paid_video'
            WHEN medium IN ('display', 'banner', 'expandable', 'interstitial', 'cpm') THEN 'display'
            WHEN is_paid THEN 'paid_other'
            WHEN is_shopping = 1 OR COALESCE(utm_campaign, '') LIKE '%shop%' THEN 'organic_shopping'
            WHEN is_social = 1 OR medium IN ('social', 'social-network', 'social-media', 'sm') THEN 'organic_social'
            WHEN is_video = 1 OR medium LIKE '%video%' THEN 'organic_video'
            WHEN is_search = 1 OR medium = 'organic' THEN 'organic_search'
            WHEN medium IN ('referral', 'app', 'link') THEN 'referral'
            WHEN source IN ('email', 'e-mail', 'e_mail', 'e mail')
                OR medium IN ('email', 'e-mail', 'e_mail', 'e mail') THEN 'email'
            WHEN medium IN ('affiliate', 'affiliates') THEN 'affiliates'
            WHEN medium = 'audio' THEN 'audio'
            WHEN source = 'sms' OR medium = 'sms' THEN 'sms'
            WHEN medium LIKE '%push' OR medium LIKE '%mobile%' OR medium LIKE '%notification%' THEN 'push'
            WHEN evidence = 'direct' THEN 'direct'
            ELSE 'unassigned'
        END
    ) AS channel
FROM (
    SELECT
        *,
        COALESCE(medium LIKE '%cp%' OR medium IN ('ppc', 'retargeting') OR medium LIKE 'paid%', FALSE) AS is_paid
    FROM (
        SELECT
            channel_sourced.*,
            CASE evidence
                WHEN 'utm' THEN utm_medium
                WHEN 'click' THEN 'cpc'
                WHEN 'referrer' THEN CASE WHEN kinds.is_search = 1 THEN 'organic' ELSE 'referral' END
                ELSE '(none)'
            END AS medium,
            COALESCE(kinds.is_search, 0) AS is_search,
            COALESCE(kinds.is_shopping, 0) AS is_shopping,
            COALESCE(kinds.is_social, 0) AS is_social,
            COALESCE(kinds.is_video, 0) AS is_video
        FROM channel_sourced
        LEFT JOIN channel_kinds AS kinds ON kinds.source = channel_sourced.source
    ) AS known
) AS judged
