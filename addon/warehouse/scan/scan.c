/* JSON lines to the buffers of Arrow columns, in one pass, for lines that hold no surprise.
 *
 * A line is taken when it is one JSON object in UTF-8 whose keys are all known, there once, and whose values
 * fit their columns exactly. Every other line is left, whole, to a slower way that knows what to do with it.
 * Nothing is allocated here: the caller hands over all memory, and is asked for more (`full`).
 *
 * The caller is addon/warehouse/scan/library.py, which describes the same structures.
 */
#define _GNU_SOURCE
#include <stddef.h>

#include "text.h"

enum { LONG, DOUBLE, BOOLEAN, STRING, JSON };

typedef struct {
    const uint8_t *key;  /* with its quotes; no byte between them needs an escape */
    uint8_t *values;     /* 8 bytes a row, or bits, or a text's bytes */
    uint8_t *validity;   /* bits, all set by the caller */
    int32_t *offsets;    /* of texts: one more than rows, the first set by the caller */
    int64_t capacity;    /* bytes in values, of texts */
    int64_t nulls;       /* rows without a value so far */
    int32_t key_length;  /* 0 for a key that no line is to match */
    int32_t kind;
} column;

typedef struct {
    const uint8_t *data;
    const int32_t *offsets;  /* of the lines in data */
    const int64_t *receipts; /* the time of a line without one */
    column *columns;         /* the first is the time */
    int32_t *slots;          /* hash table of the keys: a column, or -1 */
    int32_t *follows;        /* by column: the one that followed it last */
    int64_t *marks;          /* by column: 2 * row + 1 for a value, + 0 for a null, in the row at work */
    int64_t *taken_rows;
    int64_t data_length;
    int64_t line_count;
    int64_t next;            /* the line to go on with */
    int64_t taken;           /* how many lines were taken */
    int64_t time_low, time_high;
    int64_t room;            /* asked for at the full column */
    int32_t column_count;
    int32_t slot_mask;
    int32_t full;            /* the text column that needs more room, or -1 */
    int32_t first_key;       /* the column of the last line's first key */
} scan;

typedef enum { TAKEN, LEFT, FULL } outcome;

static locale_t c_locale = (locale_t)0;

__attribute__((constructor)) static void make_locale(void) {
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

static inline uint32_t hash(const uint8_t *key, int32_t length) {
    uint32_t value = 2166136261u; /* FNV-1a */
    for (int32_t i = 0; i < length; i++) value = (value ^ key[i]) * 16777619u;
    return value;
}

/* Fill the hash table; slot_mask + 1 is a power of two above the number of columns. */
void sluice_scan_prepare(scan *s) {
    for (int32_t i = 0; i <= s->slot_mask; i++) s->slots[i] = -1;
    for (int32_t c = 0; c < s->column_count; c++) {
        if (s->columns[c].key_length == 0) continue;
        uint32_t slot = hash(s->columns[c].key, s->columns[c].key_length) & (uint32_t)s->slot_mask;
        while (s->slots[slot] >= 0) slot = (slot + 1) & (uint32_t)s->slot_mask;
        s->slots[slot] = c;
    }
}

static inline bool is_key(const column *c, const uint8_t *p, const uint8_t *end) {
    return c->key_length && end - p >= c->key_length && memcmp(p, c->key, (size_t)c->key_length) == 0;
}

/* The column of the key at p, -1 for none: the guess, or by its hash. */
static inline int32_t find_key(const scan *s, int32_t guess, const uint8_t *p, const uint8_t *end) {
    if (guess >= 0 && is_key(&s->columns[guess], p, end)) return guess;
    if (p >= end || *p != '"') return -1;
    const uint8_t *quote = memchr(p + 1, '"', (size_t)(end - p - 1));
    if (quote == NULL || quote - p >= INT32_MAX) return -1;
    int32_t length = (int32_t)(quote + 1 - p);
    uint32_t slot = hash(p, length) & (uint32_t)s->slot_mask;
    for (; s->slots[slot] >= 0; slot = (slot + 1) & (uint32_t)s->slot_mask) {
        const column *c = &s->columns[s->slots[slot]];
        if (c->key_length == length && memcmp(p, c->key, (size_t)length) == 0) return s->slots[slot];
    }
    return -1;
}

static inline void set_bit(uint8_t *bits, int64_t at, bool value) {
    uint8_t bit = (uint8_t)(1u << (at & 7));
    bits[at >> 3] = (uint8_t)(value ? bits[at >> 3] | bit : bits[at >> 3] & ~bit);
}

static inline void put(const column *c, int64_t row, const void *value) {
    memcpy(c->values + row * 8, value, 8);
}

/* Copy a text into its column; `used` is where the column's bytes end. */
static inline const uint8_t *put_text(
    const scan *s, column *c, const uint8_t *p, const uint8_t *end, int64_t row
) {
    const uint8_t *limit = s->data + s->data_length;
    uint8_t *out = c->values + c->offsets[row];
    if (c->kind == STRING && *p == '"') {
        p = copy_string(p + 1, end, limit, &out, false);
    } else {
        p = copy_json(p, end, limit, &out);
    }
    if (p != NULL) c->offsets[row + 1] = (int32_t)(out - c->values);
    return p;
}

/* Put the value at p, which is not null, into its column; NULL when it does not fit it for sure. */
static inline const uint8_t *put_value(
    const scan *s, column *c, const uint8_t *p, const uint8_t *end, int64_t row
) {
    number n;
    union { int64_t whole; double real; } value;
    switch (c->kind) {
    case LONG:
        p = read_number(p, end, &n);
        if (p == NULL || !exact_long(&n, &value.whole)) return NULL;
        if (c == s->columns && (value.whole < s->time_low || value.whole > s->time_high)) return NULL;
        put(c, row, &value.whole);
        return p;
    case DOUBLE:
        p = read_number(p, end, &n);
        if (p == NULL || !exact_double(&n, c_locale, &value.real)) return NULL;
        put(c, row, &value.real);
        return p;
    case BOOLEAN:
        if (starts_with(p, end, "true", 4)) {
            set_bit(c->values, row, true);
            return p + 4;
        }
        if (!starts_with(p, end, "false", 5)) return NULL;
        set_bit(c->values, row, false);
        return p + 5;
    case STRING: case JSON:
        return put_text(s, c, p, end, row);
    default:
        return NULL;
    }
}

/* Give the columns that the row has no value for a null; the time is the one of the receipt. */
static void put_nulls(scan *s, int64_t line, int64_t row) {
    static const uint64_t zero = 0;
    for (int32_t i = 0; i < s->column_count; i++) {
        column *c = &s->columns[i];
        if (s->marks[i] == 2 * line + 1) continue;
        if (i == 0) {
            put(c, row, &s->receipts[line]);
            continue;
        }
        c->nulls++;
        set_bit(c->validity, row, false);
        if (c->kind == LONG || c->kind == DOUBLE) put(c, row, &zero);
        if (c->kind == BOOLEAN) set_bit(c->values, row, false);
        if (c->kind == STRING || c->kind == JSON) c->offsets[row + 1] = c->offsets[row];
    }
}

static outcome take_line(scan *s, int64_t line, const uint8_t *p, const uint8_t *end) {
    int64_t row = s->taken;
    int32_t values = 0, *guess = &s->first_key;
    p = skip_blanks(p, end);
    if (p >= end || *p != '{') return LEFT;
    p = skip_blanks(p + 1, end);
    if (p < end && *p == '}') goto closed;
    for (;;) {
        int32_t found = find_key(s, *guess, p, end);
        if (found < 0 || s->marks[found] >= 2 * line) return LEFT; /* unknown, or there already */
        *guess = found;
        guess = &s->follows[found];
        column *c = &s->columns[found];
        p = skip_blanks(p + c->key_length, end);
        if (p >= end || *p != ':') return LEFT;
        p = skip_blanks(p + 1, end);
        if (p >= end) return LEFT;
        if (*p == 'n') {
            if (found == 0 || !starts_with(p, end, "null", 4)) return LEFT;
            p += 4;
            s->marks[found] = 2 * line;
        } else {
            if (c->kind >= STRING && c->capacity - c->offsets[row] < end - p + SLACK) {
                s->full = found;
                s->room = end - p + SLACK;
                return FULL;
            }
            p = put_value(s, c, p, end, row);
            if (p == NULL) return LEFT;
            s->marks[found] = 2 * line + 1;
            values++;
        }
        p = skip_blanks(p, end);
        if (p >= end) return LEFT;
        if (*p == '}') break;
        if (*p != ',') return LEFT;
        p = skip_blanks(p + 1, end);
    }
closed:
    if (skip_blanks(p + 1, end) != end) return LEFT;
    if (values < s->column_count) put_nulls(s, line, row);
    s->taken_rows[row] = line;
    s->taken++;
    return TAKEN;
}

/* Scan lines from `next` to `last` (exclusive); stops early when a column is full. */
void sluice_scan(scan *s, int64_t last) {
    s->full = -1;
    if (last > s->line_count) last = s->line_count;
    for (; s->next < last; s->next++) {
        int64_t line = s->next, start = s->offsets[line], end = s->offsets[line + 1];
        if (start < 0 || end < start || end > s->data_length) continue;
        if (take_line(s, line, s->data + start, s->data + end) == FULL) {
            for (int32_t i = 0; i < s->column_count; i++) s->marks[i] = -1; /* the line comes again */
            return;
        }
    }
}

/* For the tests: the double that a number's text stands for; returns whether a double column keeps it. */
int32_t sluice_scan_double(const uint8_t *text, int64_t length, double *out) {
    number n;
    const uint8_t *end = read_number(text, text + length, &n);
    *out = 0;
    return end != NULL && end == text + length && exact_double(&n, c_locale, out);
}

/* For the caller to find out whether it describes the same structures. */
void sluice_scan_sizes(int64_t *of_scan, int64_t *of_column) {
    *of_scan = (int64_t)sizeof(scan);
    *of_column = (int64_t)sizeof(column);
}
