/* logplex-1 bodies: where each message is, and where the parts of its header are.
 *
 * A body is `<length> SP <message>`, repeated, and a message `<PRI>1 time host app process id text`. One
 * length that is wrong, and nothing is found at all: the caller has a slower way that says what is wrong.
 * The caller is addon/warehouse/scan/log_frames.py.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { MAX_DIGITS = 7, MAX_FRAME = 1 << 20, MAX_PRI = 191, FIELDS = 5, BOUNDS = 8, ODD = 4 };

/* RFC 5424's longest time stamp, host, app, process and message id. */
static const ptrdiff_t WIDEST[FIELDS] = {64, 255, 48, 128, 32};

typedef struct {
    int64_t *frame;   /* of a good message: its number among all */
    int64_t *owner;   /* likewise: the body it is in */
    int64_t *pri;
    int32_t *bounds;  /* likewise, BOUNDS each: begin and end of stamp, source, process and text */
    int64_t *odd;     /* of the others, ODD each: begin, end, body, number */
    int64_t good, total;
} found;

static inline bool is_digit(uint8_t c) { return (uint8_t)(c - '0') < 10; }

/* Read a frame's length; the message behind it is all there, or the result is NULL. */
static inline const uint8_t *read_length(const uint8_t *p, const uint8_t *end, int64_t *size) {
    const uint8_t *first = p;
    int64_t value = 0;
    if (p >= end || *p == '0') return NULL;
    for (; p < end && is_digit(*p) && p - first < MAX_DIGITS; p++) value = value * 10 + (*p - '0');
    if (p == first || p >= end || *p != ' ' || value > MAX_FRAME || end - p - 1 < value) return NULL;
    *size = value;
    return p + 1;
}

/* Read `<PRI>1 `, return the place of the blank. */
static inline const uint8_t *read_priority(const uint8_t *p, const uint8_t *end, int64_t *pri) {
    int64_t value = 0;
    if (p >= end || *p++ != '<') return NULL;
    const uint8_t *first = p;
    for (; p < end && is_digit(*p) && p - first < 3; p++) value = value * 10 + (*p - '0');
    if (p == first || value > MAX_PRI || (*first == '0' && p - first > 1)) return NULL;
    if (end - p < 3 || memcmp(p, ">1 ", 3) != 0) return NULL;
    *pri = value;
    return p + 2;
}

/* Cut a message at the blanks of its header; false when that is an unusual one. */
static bool cut(const uint8_t *data, const uint8_t *p, const uint8_t *end, int64_t *pri, int32_t *bounds) {
    const uint8_t *blanks[FIELDS + 1];
    blanks[0] = read_priority(p, end, pri);
    if (blanks[0] == NULL) return false;
    for (int i = 0; i < FIELDS; i++) {
        const uint8_t *first = blanks[i] + 1;
        ptrdiff_t most = end - first < WIDEST[i] + 1 ? end - first : WIDEST[i] + 1;
        const uint8_t *blank = most > 0 ? memchr(first, ' ', (size_t)most) : NULL;
        if (blank == NULL || blank == first) return false;
        blanks[i + 1] = blank;
    }
    const uint8_t *text = blanks[FIELDS] + 1;
    const uint8_t *places[BOUNDS] = {
        blanks[0] + 1, blanks[1], blanks[2] + 1, blanks[3], blanks[3] + 1, blanks[4], text,
        end > text && end[-1] == '\n' ? end - 1 : end,
    };
    for (int i = 0; i < BOUNDS; i++) bounds[i] = (int32_t)(places[i] - data);
    return true;
}

/* How many messages the bodies have, -1 when a length is wrong. `edges` are body_count + 1 offsets. */
int64_t sluice_frames_count(const uint8_t *data, const int64_t *edges, int64_t body_count) {
    int64_t total = 0, size;
    for (int64_t body = 0; body < body_count; body++) {
        const uint8_t *p = data + edges[body], *end = data + edges[body + 1];
        for (; p < end; p += size, total++) {
            p = read_length(p, end, &size);
            if (p == NULL) return -1;
        }
    }
    return total;
}

/* Find the messages; the arrays have room for as many as were counted in the same bytes. */
void sluice_frames_find(const uint8_t *data, const int64_t *edges, int64_t body_count, found *out) {
    int64_t size, odd = 0;
    for (int64_t body = 0; body < body_count; body++) {
        const uint8_t *p = data + edges[body], *end = data + edges[body + 1];
        for (; p < end; p += size) {
            p = read_length(p, end, &size);
            if (p == NULL) return;
            if (cut(data, p, p + size, &out->pri[out->good], &out->bounds[BOUNDS * out->good])) {
                out->frame[out->good] = out->total;
                out->owner[out->good++] = body;
            } else {
                int64_t *one = &out->odd[ODD * odd++];
                one[0] = p - data;
                one[1] = p - data + size;
                one[2] = body;
                one[3] = out->total;
            }
            out->total++;
        }
    }
}
