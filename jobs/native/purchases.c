/* Purchases in any order to each customer's periods: how many, the first, the last, what the repeats cost.
 *
 * Rows are dealt to partitions by the hash of their customer's name, so a customer is a small number there, and
 * the rows of a customer are counted into place and merged by themselves: no row is hashed by its period, and no
 * table of customers and periods is ever held. Where not all rows may be in memory together, there are several
 * passes over them, each of which keeps some of the partitions. Threads may add and compute beside each other.
 *
 * The caller is jobs/native/purchases.py.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "names.h"

enum {
    PARTITION_BITS = 9,
    PARTITIONS = 1 << PARTITION_BITS,
    CHUNK_ROWS = 1 << 9,
    PIECE = 1 << 14, /* rows that are dealt together */
    AHEAD = 32,      /* rows between fetching a slot and looking at it */
    TURN = 64,       /* rows whose slots are looked at before their names are */
    FEW = 24,        /* purchases that are sorted by insertion */
};
#define SLAB ((size_t)2 << 20) /* a huge page */
enum { NO_MEMORY = 0, WELL = 1, TOO_LARGE = -1 };

/* Rows of a partition: customers by their numbers in it. */
typedef struct chunk {
    struct chunk *before;
    int64_t count;
    int64_t amounts[CHUNK_ROWS];
    uint32_t customers[CHUNK_ROWS];
    int32_t periods[CHUNK_ROWS];
} chunk;

typedef struct {
    int64_t amount;
    int32_t period;
} purchase;

typedef struct {
    pthread_mutex_t lock;
    chunk *last;
    name_table names;
} partition;

typedef struct slab {
    struct slab *before;
} slab;

typedef struct {
    uint64_t seed;
    int32_t passes, pass;
    pthread_mutex_t lock; /* of the slabs */
    slab *slabs;
    size_t used;     /* bytes of the last one */
    atomic_int next; /* the partition to compute next */
    partition partitions[PARTITIONS];
} purchases;

/* A chunk, in huge pages where the system has them; NULL without memory. */
static chunk *new_chunk(purchases *s, partition *p) {
    chunk *made = NULL;
    pthread_mutex_lock(&s->lock);
    if (!s->slabs || s->used + sizeof *made > SLAB) {
        slab *one = aligned_alloc(SLAB, SLAB);
        if (one) {
#ifdef MADV_HUGEPAGE
            madvise(one, SLAB, MADV_HUGEPAGE);
#endif
            one->before = s->slabs;
            s->slabs = one;
            s->used = 64;
        }
    }
    if (s->slabs && s->used + sizeof *made <= SLAB) {
        made = (chunk *)((uint8_t *)s->slabs + s->used);
        s->used += (sizeof *made + 63) & ~(size_t)63;
    }
    pthread_mutex_unlock(&s->lock);
    if (!made) return NULL;
    made->count = 0;
    made->before = p->last;
    return p->last = made;
}

void sluice_purchases_free(purchases *s) {
    if (!s) return;
    for (int32_t i = 0; i < PARTITIONS; i++) {
        names_end(&s->partitions[i].names);
        pthread_mutex_destroy(&s->partitions[i].lock);
    }
    while (s->slabs) {
        slab *before = s->slabs->before;
        free(s->slabs);
        s->slabs = before;
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* Purchases to add rows to, of which pass 0..passes-1 is kept; NULL without memory. */
purchases *sluice_purchases_new(int32_t passes, int32_t pass, uint64_t seed) {
    purchases *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->passes = passes;
    s->pass = pass;
    s->seed = seed;
    pthread_mutex_init(&s->lock, NULL);
    bool well = true;
    for (int32_t i = 0; i < PARTITIONS; i++) {
        pthread_mutex_init(&s->partitions[i].lock, NULL);
        well = names_begin(&s->partitions[i].names) && well;
    }
    if (well) return s;
    sluice_purchases_free(s);
    return NULL;
}

/* How many partitions there are. */
int32_t sluice_purchases_partitions(void) { return PARTITIONS; }

/* The columns of the rows to add. */
typedef struct {
    const int32_t *offsets;
    const uint8_t *names, *end; /* of all names */
    const int32_t *periods;
    const int64_t *amounts;
} columns;

/* Memory to deal a piece of the rows to their partitions. */
typedef struct {
    uint64_t hashes[PIECE];
    uint16_t order[PIECE];
    uint32_t ends[PARTITIONS + 1];
    uint32_t count;
} deal;

static inline int32_t part_of(uint64_t hash) { return (int32_t)(hash >> (64 - PARTITION_BITS)); }

/* Add rows from..to-1 of a deal to their partition: all their slots are looked at, then all their names. */
static bool add_to(purchases *s, partition *p, const columns *c, int64_t lo, const deal *d, uint32_t from,
                   uint32_t to) {
    uint32_t likely[TURN], count = to - from;
    for (uint32_t i = 0; i < count; i++) {
        if (from + i + AHEAD < d->count) {
            uint64_t later = d->hashes[d->order[from + i + AHEAD]];
            names_fetch(&s->partitions[part_of(later)].names, later);
        }
        likely[i] = names_likely(&p->names, (uint32_t)d->hashes[d->order[from + i]]);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t which = d->order[from + i], customer = likely[i];
        int64_t at = lo + which;
        name_sought name = names_sought(c->names + c->offsets[at], c->offsets[at + 1] - c->offsets[at], c->end);
        if (customer == NAMES_NONE || !names_is(&p->names, customer, &name))
            customer = names_number(&p->names, (uint32_t)d->hashes[which], &name);
        chunk *into = p->last;
        if (customer != NAMES_NONE && (!into || into->count == CHUNK_ROWS)) into = new_chunk(s, p);
        if (customer == NAMES_NONE || !into) return false;
        into->customers[into->count] = customer;
        into->periods[into->count] = c->periods[at];
        into->amounts[into->count++] = c->amounts[at];
    }
    return true;
}

static bool add_piece(purchases *s, const columns *c, int64_t lo, int32_t count, deal *d) {
    memset(d->ends, 0, sizeof d->ends);
    d->count = (uint32_t)count;
    for (int32_t i = 0; i < count; i++) {
        int32_t start = c->offsets[lo + i], length = c->offsets[lo + i + 1] - start;
        d->hashes[i] = names_hash(s->seed, c->names + start, length, c->end);
        d->ends[part_of(d->hashes[i]) + 1]++;
    }
    for (int32_t part = 0; part < PARTITIONS; part++) d->ends[part + 1] += d->ends[part];
    for (int32_t i = 0; i < count; i++) d->order[d->ends[part_of(d->hashes[i])]++] = (uint16_t)i;
    uint32_t from = 0;
    for (int32_t part = 0; part < PARTITIONS; from = d->ends[part++]) {
        partition *p = &s->partitions[part];
        if (from == d->ends[part] || part % s->passes != s->pass) continue;
        pthread_mutex_lock(&p->lock);
        bool well = true;
        for (uint32_t to; well && from < d->ends[part]; from = to) {
            to = d->ends[part] - from < TURN ? d->ends[part] : from + TURN;
            well = add_to(s, p, c, lo, d, from, to);
        }
        pthread_mutex_unlock(&p->lock);
        if (!well) return false;
    }
    return true;
}

/* Add rows of these columns; false without memory. */
int32_t sluice_purchases_add(purchases *s, int64_t count, const int32_t *offsets, const uint8_t *names,
                             const int32_t *periods, const int64_t *amounts) {
    columns c = {offsets, names, names + offsets[count], periods, amounts};
    deal *d = malloc(sizeof *d);
    bool well = d != NULL;
    for (int64_t lo = 0; well && lo < count; lo += PIECE)
        well = add_piece(s, &c, lo, (int32_t)(count - lo < PIECE ? count - lo : PIECE), d);
    free(d);
    return well ? WELL : NO_MEMORY;
}

/* How many customers each partition has, and how many bytes their names. */
void sluice_purchases_counts(const purchases *s, int64_t *customers, int64_t *bytes) {
    for (int32_t part = 0; part < PARTITIONS; part++) {
        const name_table *names = &s->partitions[part].names;
        customers[part] = names->count;
        bytes[part] = 0;
        for (uint32_t number = 0; number < names->count; number++) {
            uint64_t length;
            names_text(names, number, &length);
            bytes[part] += (int64_t)length;
        }
    }
}

static int compared(const void *a, const void *b) {
    int32_t one = ((const purchase *)a)->period, other = ((const purchase *)b)->period;
    return (one > other) - (one < other);
}

static void sort(purchase *found, int64_t count) {
    bool sorted = true;
    for (int64_t i = 1; sorted && i < count; i++) sorted = found[i - 1].period <= found[i].period;
    if (sorted) return;
    if (count > FEW) {
        qsort(found, (size_t)count, sizeof *found, compared);
        return;
    }
    for (int64_t i = 1; i < count; i++) {
        purchase one = found[i];
        int64_t place = i;
        for (; place && found[place - 1].period > one.period; place--) found[place] = found[place - 1];
        found[place] = one;
    }
}

/* What is found of each customer, by id: an id is the customer's number in its partition, and its `firsts`. */
typedef struct {
    const int64_t *firsts, *first_bytes; /* by partition */
    int64_t *counts;                     /* of periods with a purchase */
    int32_t *first, *last;               /* of these periods */
    double *repeats;                     /* the amount of all but the first */
    int64_t *ends;                       /* of the names, in `texts` */
    uint8_t *texts;
} results;

/* One customer's purchases, at least one, sorted; false where the amounts of a period leave 64 bits. */
static bool merge(const purchase *found, int64_t count, const results *r, int64_t id) {
    __int128_t repeats = 0;
    int64_t periods = 0;
    for (int64_t i = 0; i < count; periods++) {
        int32_t period = found[i].period;
        int64_t amount = 0;
        for (; i < count && found[i].period == period; i++)
            if (__builtin_add_overflow(amount, found[i].amount, &amount)) return false;
        if (periods) repeats += amount;
    }
    r->counts[id] = periods;
    r->first[id] = found[0].period;
    r->last[id] = found[count - 1].period;
    r->repeats[id] = (double)repeats;
    return true;
}

/* What one thread needs to compute partitions one after the other. */
typedef struct {
    purchase *found;
    int64_t *places;
    uint64_t found_room, place_room;
} scratch;

/* Put the rows into the order of their customers, those of one as they came; `places` are where each begins. */
static bool gather(const partition *p, scratch *s) {
    uint32_t count = p->names.count;
    if (!names_grow((void **)&s->places, &s->place_room, (uint64_t)count + 1, sizeof *s->places)) return false;
    memset(s->places, 0, ((size_t)count + 1) * sizeof *s->places);
    for (const chunk *c = p->last; c; c = c->before)
        for (int64_t i = 0; i < c->count; i++) s->places[c->customers[i]]++;
    int64_t total = 0;
    for (uint32_t e = 0; e <= count; e++) s->places[e] = total += s->places[e];
    if (!names_grow((void **)&s->found, &s->found_room, (uint64_t)total, sizeof *s->found)) return false;
    for (const chunk *c = p->last; c; c = c->before)
        for (int64_t i = c->count - 1; i >= 0; i--)
            s->found[--s->places[c->customers[i]]] = (purchase){c->amounts[i], c->periods[i]};
    return true;
}

static void write_names(const name_table *names, int64_t id, int64_t at, const results *r) {
    for (uint32_t number = 0; number < names->count; number++) {
        uint64_t length;
        const uint8_t *name = names_text(names, number, &length);
        memcpy(r->texts + at, name, length);
        r->ends[id++] = at += (int64_t)length;
    }
}

/* Compute partitions until none is left, after the last row was added; TOO_LARGE as `merge` says. */
int32_t sluice_purchases_compute(purchases *s, const int64_t *firsts, const int64_t *first_bytes, int64_t *counts,
                                 int32_t *first, int32_t *last, double *repeats, int64_t *ends, uint8_t *texts) {
    results r = {firsts, first_bytes, counts, first, last, repeats, ends, texts};
    scratch work = {0};
    int32_t done = WELL;
    for (int part; done == WELL && (part = atomic_fetch_add(&s->next, 1)) < PARTITIONS;) {
        const partition *p = &s->partitions[part];
        if (!gather(p, &work)) done = NO_MEMORY;
        for (uint32_t e = 0; done == WELL && e < p->names.count; e++) {
            int64_t from = work.places[e], count = work.places[e + 1] - from;
            sort(work.found + from, count);
            if (!merge(work.found + from, count, &r, firsts[part] + e)) done = TOO_LARGE;
        }
        if (done == WELL) write_names(&p->names, firsts[part], first_bytes[part], &r);
    }
    free(work.found);
    free(work.places);
    return done;
}
