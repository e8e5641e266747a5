/* JSON strings and nested values, copied out as DuckDB would give them: never longer than they were.
 *
 * Every function takes the place after what was read so far and returns the one after what it read, or NULL
 * for a value that is malformed or not for this kernel. `end` is the end of the line, `limit` that of the
 * readable bytes; output may be scribbled on up to SLACK bytes beyond what is kept.
 */
#ifndef SLUICE_TEXT_H
#define SLUICE_TEXT_H

#include "numbers.h"

#if defined(__SSE2__) && !defined(SLUICE_SCAN_PLAIN) /* the tests try both ways */
#define SLUICE_SCAN_SSE2
#include <emmintrin.h>
#endif

enum { SLACK = 32, MAX_DEPTH = 64 };

static inline const uint8_t *skip_blanks(const uint8_t *p, const uint8_t *end) {
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n')) p++;
    return p;
}

/* Length of the well-formed UTF-8 sequence at p (RFC 3629), which starts with no ASCII byte; 0 for none. */
static inline int sequence_length(const uint8_t *p, const uint8_t *end) {
    uint8_t lead = p[0];
    ptrdiff_t left = end - p;
    if (lead >= 0xC2 && lead <= 0xDF) return left >= 2 && (p[1] & 0xC0) == 0x80 ? 2 : 0;
    if ((lead & 0xF0) == 0xE0) {
        if (left < 3 || (p[1] & 0xC0) != 0x80 || (p[2] & 0xC0) != 0x80) return 0;
        if (lead == 0xE0 && p[1] < 0xA0) return 0; /* overlong */
        if (lead == 0xED && p[1] > 0x9F) return 0; /* a surrogate */
        return 3;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        if (left < 4 || (p[1] & 0xC0) != 0x80 || (p[2] & 0xC0) != 0x80 || (p[3] & 0xC0) != 0x80) return 0;
        if (lead == 0xF0 && p[1] < 0x90) return 0; /* overlong */
        if (lead == 0xF4 && p[1] > 0x8F) return 0; /* beyond U+10FFFF */
        return 4;
    }
    return 0;
}

/* The four hexadecimal digits at p, -1 when they are none. */
static inline int32_t hexadecimal(const uint8_t *p, const uint8_t *end) {
    int32_t value = 0;
    if (end - p < 4) return -1;
    for (int i = 0; i < 4; i++) {
        uint8_t c = p[i], letter = (uint8_t)((c | 0x20) - 'a');
        if (!is_digit(c) && letter > 5) return -1;
        value = value << 4 | (is_digit(c) ? c - '0' : letter + 10);
    }
    return value;
}

/* Read an escape, p at its backslash, as a code point. */
static inline const uint8_t *read_escape(const uint8_t *p, const uint8_t *end, uint32_t *point) {
    if (end - p < 2) return NULL;
    switch (p[1]) {
    case '"': case '\\': case '/': *point = p[1]; return p + 2;
    case 'b': *point = '\b'; return p + 2;
    case 'f': *point = '\f'; return p + 2;
    case 'n': *point = '\n'; return p + 2;
    case 'r': *point = '\r'; return p + 2;
    case 't': *point = '\t'; return p + 2;
    case 'u': break;
    default: return NULL;
    }
    int32_t first = hexadecimal(p + 2, end);
    if (first < 0 || (first & 0xFC00) == 0xDC00) return NULL;
    *point = (uint32_t)first;
    if ((first & 0xFC00) != 0xD800) return p + 6;
    if (end - p < 12 || p[6] != '\\' || p[7] != 'u') return NULL;
    int32_t second = hexadecimal(p + 8, end);
    if (second < 0 || (second & 0xFC00) != 0xDC00) return NULL;
    *point = 0x10000 + (((uint32_t)first & 0x3FF) << 10) + ((uint32_t)second & 0x3FF);
    return p + 12;
}

static inline uint8_t *write_utf8(uint32_t point, uint8_t *out) {
    if (point < 0x80) {
        *out++ = (uint8_t)point;
    } else if (point < 0x800) {
        *out++ = (uint8_t)(0xC0 | point >> 6);
        *out++ = (uint8_t)(0x80 | (point & 0x3F));
    } else if (point < 0x10000) {
        *out++ = (uint8_t)(0xE0 | point >> 12);
        *out++ = (uint8_t)(0x80 | (point >> 6 & 0x3F));
        *out++ = (uint8_t)(0x80 | (point & 0x3F));
    } else {
        *out++ = (uint8_t)(0xF0 | point >> 18);
        *out++ = (uint8_t)(0x80 | (point >> 12 & 0x3F));
        *out++ = (uint8_t)(0x80 | (point >> 6 & 0x3F));
        *out++ = (uint8_t)(0x80 | (point & 0x3F));
    }
    return out;
}

/* Write a code point as it stands inside a JSON string; only what must be escaped is. */
static inline uint8_t *write_printed(uint32_t point, uint8_t *out) {
    static const char SHORT[] = "btn\0fr"; /* for 8 to 13; 11 has none */
    static const char DIGITS[] = "0123456789ABCDEF";
    if (point >= 0x20 && point != '"' && point != '\\') return write_utf8(point, out);
    *out++ = '\\';
    if (point >= 0x20) {
        *out++ = (uint8_t)point;
    } else if (point >= 8 && point <= 13 && point != 11) {
        *out++ = (uint8_t)SHORT[point - 8];
    } else {
        memcpy(out, "u00", 3);
        out[3] = (uint8_t)DIGITS[point >> 4];
        out[4] = (uint8_t)DIGITS[point & 15];
        out += 5;
    }
    return out;
}

/* Copy a string's plain ASCII bytes up to one that needs a look; p may then be at or beyond `end`. */
static inline const uint8_t *copy_plain(
    const uint8_t *p, const uint8_t *end, const uint8_t *limit, uint8_t **out
) {
    uint8_t *to = *out;
#ifdef SLUICE_SCAN_SSE2
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), blank = _mm_set1_epi8(' ');
    while (p < end && limit - p >= 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)p);
        __m128i odd = _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash));
        odd = _mm_or_si128(odd, _mm_cmplt_epi8(bytes, blank)); /* signed: control and non-ASCII bytes */
        int found = _mm_movemask_epi8(odd);
        _mm_storeu_si128((__m128i *)to, bytes);
        if (found) {
            int plain = __builtin_ctz((unsigned)found);
            *out = to + plain;
            return p + plain;
        }
        p += 16;
        to += 16;
    }
#else
    (void)limit;
#endif
    while (p < end && *p >= ' ' && *p < 0x80 && *p != '"' && *p != '\\') *to++ = *p++;
    *out = to;
    return p;
}

/* Copy a string, p after its opening quote, without quotes: unescaped, or as JSON prints it. */
static inline const uint8_t *copy_string(
    const uint8_t *p, const uint8_t *end, const uint8_t *limit, uint8_t **out, bool printed
) {
    for (;;) {
        p = copy_plain(p, end, limit, out);
        if (p >= end) return NULL;
        if (*p == '"') return p + 1;
        if (*p == '\\') {
            uint32_t point;
            p = read_escape(p, end, &point);
            if (p == NULL) return NULL;
            *out = printed ? write_printed(point, *out) : write_utf8(point, *out);
        } else if (*p >= 0x80) {
            do {
                int length = sequence_length(p, end);
                if (length == 0) return NULL;
                memcpy(*out, p, (size_t)length);
                *out += length;
                p += length;
            } while (p < end && *p >= 0x80);
        } else {
            return NULL; /* a control character */
        }
    }
}

static inline const uint8_t *copy_quoted(
    const uint8_t *p, const uint8_t *end, const uint8_t *limit, uint8_t **out
) {
    *(*out)++ = '"';
    p = copy_string(p + 1, end, limit, out, true);
    if (p != NULL) *(*out)++ = '"';
    return p;
}

static inline bool starts_with(const uint8_t *p, const uint8_t *end, const char *word, size_t length) {
    return (size_t)(end - p) >= length && memcmp(p, word, length) == 0;
}

/* Copy true, false, null or a number, as DuckDB prints it. */
static inline const uint8_t *copy_scalar(const uint8_t *p, const uint8_t *end, uint8_t **out) {
    size_t length = 0;
    if (starts_with(p, end, "true", 4) || starts_with(p, end, "null", 4)) {
        length = 4;
    } else if (starts_with(p, end, "false", 5)) {
        length = 5;
    } else {
        number n;
        if (read_number(p, end, &n) == NULL || !prints_as_written(&n)) return NULL;
        if (n.integer && n.digits == 0) p = n.end - 1; /* -0 is printed as 0 */
        length = (size_t)(n.end - p);
    }
    memcpy(*out, p, length);
    *out += length;
    return p + length;
}

/* Copy any value without the blanks between its parts; MAX_DEPTH levels deep at most. */
static const uint8_t *copy_json(const uint8_t *p, const uint8_t *end, const uint8_t *limit, uint8_t **out) {
    uint64_t objects = 0; /* one bit a level, the innermost lowest */
    int depth = 0;
    for (;;) {
        if (p >= end) return NULL;
        if (*p == '{' || *p == '[') {
            bool object = *p == '{';
            if (depth == MAX_DEPTH) return NULL;
            depth++;
            objects = objects << 1 | object;
            *(*out)++ = *p;
            p = skip_blanks(p + 1, end);
            if (p >= end) return NULL;
            if (*p != (object ? '}' : ']')) {
                if (object) goto key;
                continue;
            }
        } else {
            p = *p == '"' ? copy_quoted(p, end, limit, out) : copy_scalar(p, end, out);
            if (p == NULL) return NULL;
            if (depth == 0) return p;
            p = skip_blanks(p, end);
        }
        while (p < end && *p == ((objects & 1) ? '}' : ']')) {
            *(*out)++ = *p++;
            objects >>= 1;
            if (--depth == 0) return p;
            p = skip_blanks(p, end);
        }
        if (p >= end || *p != ',') return NULL;
        *(*out)++ = ',';
        p = skip_blanks(p + 1, end);
        if (!(objects & 1)) continue;
    key:
        if (p >= end || *p != '"') return NULL;
        p = copy_quoted(p, end, limit, out);
        if (p == NULL) return NULL;
        p = skip_blanks(p, end);
        if (p >= end || *p != ':') return NULL;
        *(*out)++ = ':';
        p = skip_blanks(p + 1, end);
    }
}

#endif
