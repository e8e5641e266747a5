/* Rows dealt to partitions by the hash of a name in them, each partition with a table of the names it has met.
 *
 * The first pass of what the kernels do: a name becomes a small number, and its rows come together. Any number of
 * threads may add at once: a lock for each partition. What is slow is memory that is not in the cache, so a row
 * meets as little of it as may be: one slot of the table, fetched ahead, the head of its name, the end of a chunk.
 */
#ifndef SLUICE_DEALING_H
#define SLUICE_DEALING_H
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "names.h"

enum {
    PARTITION_BITS = 9,
    PARTITIONS = 1 << PARTITION_BITS,
    PIECE = 1 << 14, /* rows that are dealt together */
    AHEAD = 32,      /* rows between fetching a slot and looking at it */
    TURN = 64,       /* rows whose slots are looked at before their names are */
    FEW = 24,        /* rows that are sorted by insertion */
};
#define SLAB ((size_t)2 << 20) /* a huge page */

typedef struct slab {
    struct slab *before;
} slab;

typedef struct {
    pthread_mutex_t lock;
    name_table names;
} dealt;

typedef struct {
    uint64_t seed;
    int32_t passes, pass; /* rows of each so many-th partition are kept */
    pthread_mutex_t lock; /* of the slabs */
    slab *slabs;
    size_t used;     /* bytes of the last one */
    atomic_int next; /* the partition to compute next */
    dealt partitions[PARTITIONS];
} dealer;

/* The names of the rows to add, as Arrow has them. */
typedef struct {
    const int32_t *offsets;
    const uint8_t *bytes, *end;
} name_column;

/* Keeps row `at` of what is added, whose name has this number in its partition; false without memory. */
typedef bool (*keep_row)(void *kernel, const void *columns, int32_t part, int64_t at, uint32_t number);

/* Memory to deal a piece of the rows. */
typedef struct {
    uint64_t hashes[PIECE];
    uint16_t order[PIECE];
    uint32_t ends[PARTITIONS + 1];
    uint32_t count;
} deal;

/* Make an empty one in memory of zeros; false without memory, and then it is to be ended too. */
static inline bool dealer_begin(dealer *d, int32_t passes, int32_t pass, uint64_t seed) {
    d->seed = seed;
    d->passes = passes;
    d->pass = pass;
    pthread_mutex_init(&d->lock, NULL);
    bool well = true;
    for (int32_t i = 0; i < PARTITIONS; i++) {
        pthread_mutex_init(&d->partitions[i].lock, NULL);
        well = names_begin(&d->partitions[i].names) && well;
    }
    return well;
}

static inline void dealer_end(dealer *d) {
    for (int32_t i = 0; i < PARTITIONS; i++) {
        names_end(&d->partitions[i].names);
        pthread_mutex_destroy(&d->partitions[i].lock);
    }
    while (d->slabs) {
        slab *before = d->slabs->before;
        free(d->slabs);
        d->slabs = before;
    }
    pthread_mutex_destroy(&d->lock);
}

/* Memory until the end, less than a slab, in huge pages where the system has them; NULL without memory. */
static inline void *dealer_memory(dealer *d, size_t size) {
    void *found = NULL;
    pthread_mutex_lock(&d->lock);
    if (!d->slabs || d->used + size > SLAB) {
        slab *one = aligned_alloc(SLAB, SLAB);
        if (one) {
#ifdef MADV_HUGEPAGE
            madvise(one, SLAB, MADV_HUGEPAGE);
#endif
            one->before = d->slabs;
            d->slabs = one;
            d->used = 64;
        }
    }
    if (d->slabs && d->used + size <= SLAB) {
        found = (uint8_t *)d->slabs + d->used;
        d->used += (size + 63) & ~(size_t)63;
    }
    pthread_mutex_unlock(&d->lock);
    return found;
}

static inline int32_t part_of(uint64_t hash) { return (int32_t)(hash >> (64 - PARTITION_BITS)); }

/* Add rows from..to-1 of a deal to their partition: all their slots are looked at, then all their names. */
static inline __attribute__((always_inline)) bool deal_turn(dealer *d, int32_t part, const name_column *c, int64_t lo,
                                                            const deal *a, uint32_t from, uint32_t to, keep_row keep,
                                                            void *kernel, const void *columns) {
    name_table *names = &d->partitions[part].names;
    uint32_t likely[TURN], count = to - from;
    for (uint32_t i = 0; i < count; i++) {
        if (from + i + AHEAD < a->count) {
            uint64_t later = a->hashes[a->order[from + i + AHEAD]];
            names_fetch(&d->partitions[part_of(later)].names, later);
        }
        likely[i] = names_likely(names, (uint32_t)a->hashes[a->order[from + i]]);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t which = a->order[from + i], number = likely[i];
        const int32_t *ends = c->offsets + lo + which;
        name_sought name = names_sought(c->bytes + ends[0], ends[1] - ends[0], c->end);
        if (number == NAMES_NONE || !names_is(names, number, &name))
            number = names_number(names, (uint32_t)a->hashes[which], &name);
        if (number == NAMES_NONE || !keep(kernel, columns, part, lo + which, number)) return false;
    }
    return true;
}

static inline __attribute__((always_inline)) bool deal_piece(dealer *d, const name_column *c, int64_t lo, int32_t count,
                                                             deal *a, keep_row keep, void *kernel, const void *columns) {
    memset(a->ends, 0, sizeof a->ends);
    a->count = (uint32_t)count;
    for (int32_t i = 0; i < count; i++) {
        const int32_t *ends = c->offsets + lo + i;
        a->hashes[i] = names_hash(d->seed, c->bytes + ends[0], ends[1] - ends[0], c->end);
        a->ends[part_of(a->hashes[i]) + 1]++;
    }
    for (int32_t part = 0; part < PARTITIONS; part++) a->ends[part + 1] += a->ends[part];
    for (int32_t i = 0; i < count; i++) a->order[a->ends[part_of(a->hashes[i])]++] = (uint16_t)i;
    uint32_t from = 0;
    for (int32_t part = 0; part < PARTITIONS; from = a->ends[part++]) {
        if (from == a->ends[part] || part % d->passes != d->pass) continue;
        pthread_mutex_lock(&d->partitions[part].lock);
        bool well = true;
        for (uint32_t to; well && from < a->ends[part]; from = to) {
            to = a->ends[part] - from < TURN ? a->ends[part] : from + TURN;
            well = deal_turn(d, part, c, lo, a, from, to, keep, kernel, columns);
        }
        pthread_mutex_unlock(&d->partitions[part].lock);
        if (!well) return false;
    }
    return true;
}

/* Deal rows, each of which `keep` keeps; it is known where this is called, so it is inlined. False without memory. */
static inline __attribute__((always_inline)) bool dealer_add(dealer *d, int64_t count, const int32_t *offsets,
                                                             const uint8_t *bytes, keep_row keep, void *kernel,
                                                             const void *columns) {
    name_column c = {offsets, bytes, bytes + offsets[count]};
    deal *a = malloc(sizeof *a);
    bool well = a != NULL;
    for (int64_t lo = 0; well && lo < count; lo += PIECE)
        well = deal_piece(d, &c, lo, (int32_t)(count - lo < PIECE ? count - lo : PIECE), a, keep, kernel, columns);
    free(a);
    return well;
}
#endif
