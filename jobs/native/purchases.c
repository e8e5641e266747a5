/* Purchases in any order to each customer's periods: how many, the first, the last, what the repeats cost.
 *
 * Rows are dealt to partitions by their customer's name (dealing.h), so a customer is a small number there, and
 * the rows of a customer are counted into place and merged by themselves: no row is hashed by its period, and no
 * table of customers and periods is ever held. Where not all rows may be in memory together, there are several
 * passes over them, each of which keeps some of the partitions. Threads may add and compute beside each other.
 *
 * The caller is jobs/native/purchases.py.
 */
#include "dealing.h"

enum { CHUNK_ROWS = 1 << 9 };
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
    dealer dealer;
    chunk *last[PARTITIONS];
} purchases;

void sluice_purchases_free(purchases *s) {
    if (!s) return;
    dealer_end(&s->dealer);
    free(s);
}

/* Purchases to add rows to, of which pass 0..passes-1 is kept; NULL without memory. */
purchases *sluice_purchases_new(int32_t passes, int32_t pass, uint64_t seed) {
    purchases *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    if (dealer_begin(&s->dealer, passes, pass, seed)) return s;
    sluice_purchases_free(s);
    return NULL;
}

/* How many partitions there are. */
int32_t sluice_purchases_partitions(void) { return PARTITIONS; }

/* The columns of the rows to add. */
typedef struct {
    const int32_t *periods;
    const int64_t *amounts;
} columns;

static inline bool keep(void *kernel, const void *of, int32_t part, int64_t at, uint32_t customer) {
    purchases *s = kernel;
    const columns *c = of;
    chunk *into = s->last[part];
    if (!into || into->count == CHUNK_ROWS) {
        into = dealer_memory(&s->dealer, sizeof *into);
        if (!into) return false;
        into->count = 0;
        into->before = s->last[part];
        s->last[part] = into;
    }
    into->customers[into->count] = customer;
    into->periods[into->count] = c->periods[at];
    into->amounts[into->count++] = c->amounts[at];
    return true;
}

/* Add rows of these columns; false without memory. */
int32_t sluice_purchases_add(purchases *s, int64_t count, const int32_t *offsets, const uint8_t *names,
                             const int32_t *periods, const int64_t *amounts) {
    columns c = {periods, amounts};
    return dealer_add(&s->dealer, count, offsets, names, keep, s, &c) ? WELL : NO_MEMORY;
}

/* How many customers each partition has, and how many bytes their names. */
void sluice_purchases_counts(const purchases *s, int64_t *customers, int64_t *bytes) {
    for (int32_t part = 0; part < PARTITIONS; part++) {
        const name_table *names = &s->dealer.partitions[part].names;
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
static bool gather(const chunk *last, uint32_t count, scratch *s) {
    if (!names_grow((void **)&s->places, &s->place_room, (uint64_t)count + 1, sizeof *s->places)) return false;
    memset(s->places, 0, ((size_t)count + 1) * sizeof *s->places);
    for (const chunk *c = last; c; c = c->before)
        for (int64_t i = 0; i < c->count; i++) s->places[c->customers[i]]++;
    int64_t total = 0;
    for (uint32_t e = 0; e <= count; e++) s->places[e] = total += s->places[e];
    if (!names_grow((void **)&s->found, &s->found_room, (uint64_t)total, sizeof *s->found)) return false;
    for (const chunk *c = last; c; c = c->before)
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
    for (int part; done == WELL && (part = atomic_fetch_add(&s->dealer.next, 1)) < PARTITIONS;) {
        const name_table *names = &s->dealer.partitions[part].names;
        if (!gather(s->last[part], names->count, &work)) done = NO_MEMORY;
        for (uint32_t e = 0; done == WELL && e < names->count; e++) {
            int64_t from = work.places[e], count = work.places[e + 1] - from;
            sort(work.found + from, count);
            if (!merge(work.found + from, count, &r, firsts[part] + e)) done = TOO_LARGE;
        }
        if (done == WELL) write_names(names, firsts[part], first_bytes[part], &r);
    }
    free(work.found);
    free(work.places);
    return done;
}
