/* Texts numbered in the order in which they are met: a table of one partition's names, compared byte by byte.
 *
 * A name of up to 15 bytes is its own head, two words with its length in the last byte; a longer one lies in a
 * buffer of its own. A caller that fetches a slot ahead, then the head of the likely name, meets both in the
 * processor's cache.
 */
#ifndef SLUICE_NAMES_H
#define SLUICE_NAMES_H
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_SHORT = 15, NAMES_FIRST_SLOTS = 64, NAMES_MOST = 1 << 30 };
#define NAMES_NONE UINT32_MAX
#define NAMES_LONG ((uint64_t)0xFF << 56)

typedef struct {
    uint32_t tag;    /* the low half of the name's hash */
    uint32_t number; /* the name's number + 1, or 0 for a free slot */
} name_slot;

/* The bytes of a name and, in the last one, how many they are; or, where it is long, its place in `texts`. */
typedef struct {
    uint64_t words[2];
} name_head;

typedef struct {
    name_slot *slots;
    uint32_t mask, count;
    name_head *heads; /* by number */
    uint64_t head_room;
    uint8_t *texts; /* the long ones, each after its length in 8 bytes */
    uint64_t used, room;
} name_table;

/* Make room for `wanted` things in an array that grows by half at least; false without memory. */
static inline bool names_grow(void **array, uint64_t *room, uint64_t wanted, size_t size) {
    if (wanted <= *room) return true;
    uint64_t more = *room + *room / 2 + 64;
    if (more < wanted) more = wanted;
    void *moved = realloc(*array, more * size);
    if (!moved) return false;
    *array = moved;
    *room = more;
    return true;
}

static inline bool names_begin(name_table *t) {
    t->slots = calloc(NAMES_FIRST_SLOTS, sizeof *t->slots);
    t->mask = NAMES_FIRST_SLOTS - 1;
    return t->slots != NULL;
}

static inline void names_end(name_table *t) {
    free(t->slots);
    free(t->heads);
    free(t->texts);
}

static inline uint64_t names_fold(uint64_t a, uint64_t b) {
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* The bytes of a name, up to 16, as two words, the rest 0. Reads 16 bytes where the text goes on so far. */
static inline void names_words(const uint8_t *name, int64_t length, const uint8_t *end, uint64_t words[2]) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    static const uint64_t all = UINT64_MAX;
    if (end - name >= 16) {
        memcpy(words, name, 16);
        words[0] &= length < 8 ? ~(all << 8 * length) : all;
        words[1] &= length < 8 ? 0 : length < 16 ? ~(all << 8 * (length - 8)) : all;
        return;
    }
#endif
    words[0] = words[1] = 0;
    memcpy(words, name, (size_t)length);
}

/* A seeded hash of a name: pairs of words folded by products of 128 bits. */
static inline uint64_t names_hash(uint64_t seed, const uint8_t *name, int64_t length, const uint8_t *end) {
    uint64_t value = seed ^ ((uint64_t)length * 0x9E3779B97F4A7C15u), words[2];
    for (; length > 16; length -= 16, name += 16) {
        memcpy(words, name, 16);
        value = names_fold(value ^ words[0], words[1] ^ 0xD6E8FEB86659FD93u);
    }
    names_words(name, length, end, words);
    value = names_fold(value ^ words[0], words[1] ^ 0xA0761D6478BD642Fu);
    return names_fold(value ^ seed, 0xE7037ED1A0B428DBu);
}

/* A name as it is looked for: its head, which of a long one knows no place yet. */
typedef struct {
    name_head head;
    const uint8_t *name;
    uint64_t length;
} name_sought;

static inline name_sought names_sought(const uint8_t *name, int64_t length, const uint8_t *end) {
    name_sought s = {.name = name, .length = (uint64_t)length};
    if (length > NAMES_SHORT) {
        s.head = (name_head){{0, NAMES_LONG}};
    } else {
        names_words(name, length, end, s.head.words);
        s.head.words[1] |= (uint64_t)length << 56;
    }
    return s;
}

/* The bytes of a name by its number, and how many they are. */
static inline const uint8_t *names_text(const name_table *t, uint32_t number, uint64_t *length) {
    const name_head *h = &t->heads[number];
    if (h->words[1] != NAMES_LONG) {
        *length = h->words[1] >> 56;
        return (const uint8_t *)h->words;
    }
    memcpy(length, t->texts + h->words[0], sizeof *length);
    return t->texts + h->words[0] + sizeof *length;
}

static inline bool names_is(const name_table *t, uint32_t number, const name_sought *s) {
    const name_head *h = &t->heads[number];
    if (h->words[1] != s->head.words[1]) return false;
    if (h->words[1] != NAMES_LONG) return h->words[0] == s->head.words[0];
    uint64_t length;
    const uint8_t *name = names_text(t, number, &length);
    return length == s->length && memcmp(name, s->name, length) == 0;
}

static inline bool names_keep(name_table *t, const name_sought *s) {
    if (!names_grow((void **)&t->heads, &t->head_room, t->count + (uint64_t)1, sizeof *t->heads)) return false;
    name_head kept = s->head;
    if (kept.words[1] == NAMES_LONG) {
        uint64_t used = t->used + sizeof s->length + s->length;
        if (!names_grow((void **)&t->texts, &t->room, used, 1)) return false;
        memcpy(t->texts + t->used, &s->length, sizeof s->length);
        memcpy(t->texts + t->used + sizeof s->length, s->name, s->length);
        kept.words[0] = t->used;
        t->used = used;
    }
    t->heads[t->count] = kept;
    return true;
}

static inline bool names_rehash(name_table *t) {
    uint32_t mask = t->mask * 2 + 1;
    name_slot *moved = calloc((size_t)mask + 1, sizeof *moved);
    if (!moved) return false;
    for (uint32_t i = 0; i <= t->mask; i++) {
        if (!t->slots[i].number) continue;
        uint32_t at = t->slots[i].tag & mask;
        while (moved[at].number) at = (at + 1) & mask;
        moved[at] = t->slots[i];
    }
    free(t->slots);
    __atomic_store_n(&t->slots, moved, __ATOMIC_RELAXED);
    __atomic_store_n(&t->mask, mask, __ATOMIC_RELAXED);
    return true;
}

/* Have the slot of a hash fetched. The table may be moving meanwhile: that costs time only. */
static inline void names_fetch(name_table *t, uint64_t hash) {
    const name_slot *slots = __atomic_load_n(&t->slots, __ATOMIC_RELAXED);
    __builtin_prefetch(&slots[(uint32_t)hash & __atomic_load_n(&t->mask, __ATOMIC_RELAXED)]);
}

/* The first name with this tag, its head on the way to the cache; NAMES_NONE for none. */
static inline uint32_t names_likely(const name_table *t, uint32_t tag) {
    for (uint32_t at = tag & t->mask; t->slots[at].number; at = (at + 1) & t->mask) {
        if (t->slots[at].tag != tag) continue;
        __builtin_prefetch(&t->heads[t->slots[at].number - 1]);
        return t->slots[at].number - 1;
    }
    return NAMES_NONE;
}

/* The number of a name, a new one for a new name; NAMES_NONE without memory. */
static inline uint32_t names_number(name_table *t, uint32_t tag, const name_sought *s) {
    uint32_t at = tag & t->mask;
    for (; t->slots[at].number; at = (at + 1) & t->mask)
        if (t->slots[at].tag == tag && names_is(t, t->slots[at].number - 1, s)) return t->slots[at].number - 1;
    if (t->count == NAMES_MOST || !names_keep(t, s)) return NAMES_NONE;
    t->slots[at] = (name_slot){tag, ++t->count};
    if (t->count > t->mask / 8 * 5 && !names_rehash(t)) return NAMES_NONE;
    return t->count - 1;
}
#endif
