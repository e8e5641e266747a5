/* The ordered funnel: step events in any order to the first chain of each entity to each step.
 *
 * Rows are dealt to partitions by the hash of their entity's name, each with a table of the names it has met,
 * so an entity is a small number there and its rows can be counted into place and sorted by themselves. Any
 * number of threads may add at once (a lock for each partition), and compute at once (a partition at a time).
 * What is slow here is memory that is not in the cache, so a row meets as little of it as may be: one slot of
 * the table, fetched ahead, and the end of a chunk. A call that finds no memory says so; all is freed by `free`.
 *
 * The caller is jobs/native/funnel.py.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { BY_SEQ, BY_STEP, BY_INCREASE }; /* which of an entity's events of one second come first */
enum {
    PARTITION_BITS = 9,
    PARTITIONS = 1 << PARTITION_BITS,
    CHUNK_ROWS = 1 << 10,
    PIECE = 1 << 14, /* rows that are dealt together */
    AHEAD = 32,      /* rows between fetching a slot and looking at it */
    TURN = 64,       /* rows whose slots are looked at before their names are */
    FEW = 24,        /* events that are sorted by insertion */
    MAX_STEPS = 32,
    SHORT = 15,      /* bytes of a name that is its own head */
    NARROW = 8,      /* steps that fit into a byte */
    FIRST_SLOTS = 64,
    MOST_ENTITIES = 1 << 30,
};
#define SLAB ((size_t)2 << 20) /* a huge page */

/* Rows of a partition, column by column: new memory costs more than what is written to it. */
typedef struct chunk {
    struct chunk *before;
    int64_t count;
    int64_t *seqs;        /* where ties ask for them */
    uint32_t *wide_steps; /* bits: the steps that the event matches; */
    uint8_t *steps;       /* or, where there are no more than 8 of them, these */
    uint32_t entities[CHUNK_ROWS];  /* their numbers in the partition */
    uint32_t times[CHUNK_ROWS];     /* the low 32 bits */
    uint8_t high_times[CHUNK_ROWS]; /* and the 8 above: seconds up to the year 9999 take 38 */
} chunk;

typedef struct {
    uint32_t tag;    /* the low half of the name's hash */
    uint32_t entity; /* the entity's number + 1, or 0 for a free slot */
} slot;

/* A name: its bytes and, in the last one, how many they are; or, where it is long, its place in `names`. */
typedef struct {
    uint64_t words[2];
} head;
#define LENGTH_OF(h) ((h).words[1] >> 56)
#define IS_LONG ((uint64_t)0xFF << 56)

typedef struct {
    int64_t time;
    uint32_t steps;
    uint32_t place; /* among the partition's seqs */
} event;

typedef struct {
    int64_t started, reached;
    uint32_t entity;
    int32_t step; /* 1..k */
} chain;

typedef struct {
    pthread_mutex_t lock;
    chunk *last;
    slot *slots;
    uint32_t slot_mask;
    uint32_t entities;
    head *heads; /* by entity */
    uint64_t head_room;
    uint8_t *names; /* the long ones, each after its length in 8 bytes */
    uint64_t names_used, names_room;
    chain *chains;
    uint64_t chain_count, chain_room;
    int64_t reached[MAX_STEPS]; /* by step: how many of the chains go to it */
} partition;

typedef struct slab {
    struct slab *before;
} slab;

typedef struct {
    int64_t window; /* seconds */
    uint64_t seed;
    int32_t steps, ties;
    pthread_mutex_t lock; /* of the slabs */
    slab *slabs;
    size_t used;          /* bytes of the last one */
    atomic_int next;      /* the partition to compute next */
    partition partitions[PARTITIONS];
} funnel;

/* Memory until the end, in huge pages where the system has them. */
static void *kept(funnel *f, size_t size) {
    void *found = NULL;
    pthread_mutex_lock(&f->lock);
    if (!f->slabs || f->used + size > SLAB) {
        slab *one = aligned_alloc(SLAB, SLAB);
        if (one) {
#ifdef MADV_HUGEPAGE
            madvise(one, SLAB, MADV_HUGEPAGE);
#endif
            one->before = f->slabs;
            f->slabs = one;
            f->used = 64;
        }
    }
    if (f->slabs && f->used + size <= SLAB) {
        found = (uint8_t *)f->slabs + f->used;
        f->used += (size + 63) & ~(size_t)63;
    }
    pthread_mutex_unlock(&f->lock);
    return found;
}

/* Make room for `wanted` things in an array that grows by half at least; false without memory. */
static bool grow(void **array, uint64_t *room, uint64_t wanted, size_t size) {
    if (wanted <= *room) return true;
    uint64_t more = *room + *room / 2 + 64;
    if (more < wanted) more = wanted;
    void *moved = realloc(*array, more * size);
    if (!moved) return false;
    *array = moved;
    *room = more;
    return true;
}

static inline uint64_t fold(uint64_t a, uint64_t b) {
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* The bytes of a name, up to 16, as two words, the rest 0. Reads 16 bytes where the text goes on so far. */
static inline void words_of(const uint8_t *name, int64_t length, const uint8_t *end, uint64_t words[2]) {
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
static inline uint64_t hash_of(uint64_t seed, const uint8_t *name, int64_t length, const uint8_t *end) {
    uint64_t value = seed ^ ((uint64_t)length * 0x9E3779B97F4A7C15u), words[2];
    for (; length > 16; length -= 16, name += 16) {
        memcpy(words, name, 16);
        value = fold(value ^ words[0], words[1] ^ 0xD6E8FEB86659FD93u);
    }
    words_of(name, length, end, words);
    value = fold(value ^ words[0], words[1] ^ 0xA0761D6478BD642Fu);
    return fold(value ^ seed, 0xE7037ED1A0B428DBu);
}

static const uint8_t *long_name(const partition *p, const head *h, uint64_t *length) {
    memcpy(length, p->names + h->words[0], sizeof *length);
    return p->names + h->words[0] + sizeof *length;
}

/* A name as it is looked for: its head, which of a long one knows no place yet. */
typedef struct {
    head head;
    const uint8_t *name;
    uint64_t length;
} sought;

static inline sought sought_of(const uint8_t *name, int64_t length, const uint8_t *end) {
    sought s = {.name = name, .length = (uint64_t)length};
    if (length > SHORT) {
        s.head = (head){{0, IS_LONG}};
    } else {
        words_of(name, length, end, s.head.words);
        s.head.words[1] |= (uint64_t)length << 56;
    }
    return s;
}

static inline bool is_name(const partition *p, uint32_t entity, const sought *s) {
    const head *h = &p->heads[entity];
    if (h->words[1] != s->head.words[1]) return false;
    if (s->head.words[1] != IS_LONG) return h->words[0] == s->head.words[0];
    uint64_t length;
    const uint8_t *name = long_name(p, h, &length);
    return length == s->length && memcmp(name, s->name, length) == 0;
}

static bool keep_name(partition *p, const sought *s) {
    if (!grow((void **)&p->heads, &p->head_room, p->entities + (uint64_t)1, sizeof *p->heads)) return false;
    head kept_head = s->head;
    if (s->head.words[1] == IS_LONG) {
        uint64_t used = p->names_used + sizeof s->length + s->length;
        if (!grow((void **)&p->names, &p->names_room, used, 1)) return false;
        memcpy(p->names + p->names_used, &s->length, sizeof s->length);
        memcpy(p->names + p->names_used + sizeof s->length, s->name, s->length);
        kept_head.words[0] = p->names_used;
        p->names_used = used;
    }
    p->heads[p->entities] = kept_head;
    return true;
}

static bool rehash(partition *p) {
    uint32_t mask = p->slot_mask * 2 + 1;
    slot *moved = calloc((size_t)mask + 1, sizeof *moved);
    if (!moved) return false;
    for (uint32_t i = 0; i <= p->slot_mask; i++) {
        if (!p->slots[i].entity) continue;
        uint32_t at = p->slots[i].tag & mask;
        while (moved[at].entity) at = (at + 1) & mask;
        moved[at] = p->slots[i];
    }
    free(p->slots);
    __atomic_store_n(&p->slots, moved, __ATOMIC_RELAXED);
    __atomic_store_n(&p->slot_mask, mask, __ATOMIC_RELAXED);
    return true;
}

/* The first entity whose name has this tag; UINT32_MAX for none. */
static inline uint32_t with_tag(const partition *p, uint32_t tag) {
    uint32_t at = tag & p->slot_mask;
    for (; p->slots[at].entity; at = (at + 1) & p->slot_mask)
        if (p->slots[at].tag == tag) return p->slots[at].entity - 1;
    return UINT32_MAX;
}

/* The number of an entity, a new one for a new name; UINT32_MAX without memory. */
static uint32_t number_of(partition *p, uint32_t tag, const sought *s) {
    uint32_t at = tag & p->slot_mask;
    for (; p->slots[at].entity; at = (at + 1) & p->slot_mask)
        if (p->slots[at].tag == tag && is_name(p, p->slots[at].entity - 1, s)) return p->slots[at].entity - 1;
    if (p->entities == MOST_ENTITIES || !keep_name(p, s)) return UINT32_MAX;
    p->slots[at] = (slot){tag, ++p->entities};
    if (p->entities > p->slot_mask / 8 * 5 && !rehash(p)) return UINT32_MAX;
    return p->entities - 1;
}

static chunk *new_chunk(funnel *f, partition *p) {
    bool wide = f->steps > NARROW, by_seq = f->ties == BY_SEQ;
    size_t steps = CHUNK_ROWS * (wide ? sizeof(uint32_t) : 1), seqs = by_seq ? CHUNK_ROWS * sizeof(int64_t) : 0;
    chunk *made = kept(f, sizeof *made + seqs + steps);
    if (!made) return NULL;
    uint8_t *more = (uint8_t *)(made + 1);
    made->seqs = by_seq ? (int64_t *)more : NULL;
    made->wide_steps = wide ? (uint32_t *)(more + seqs) : NULL;
    made->steps = wide ? NULL : more + seqs;
    made->count = 0;
    made->before = p->last;
    return p->last = made;
}

void sluice_funnel_free(funnel *f) {
    if (!f) return;
    for (int32_t i = 0; i < PARTITIONS; i++) {
        partition *p = &f->partitions[i];
        free(p->slots);
        free(p->heads);
        free(p->names);
        free(p->chains);
        pthread_mutex_destroy(&p->lock);
    }
    while (f->slabs) {
        slab *before = f->slabs->before;
        free(f->slabs);
        f->slabs = before;
    }
    pthread_mutex_destroy(&f->lock);
    free(f);
}

/* A funnel to add rows to; NULL without memory. */
funnel *sluice_funnel_new(int32_t steps, int64_t window, int32_t ties, uint64_t seed) {
    funnel *f = calloc(1, sizeof *f);
    if (!f) return NULL;
    f->steps = steps;
    f->window = window;
    f->ties = ties;
    f->seed = seed;
    pthread_mutex_init(&f->lock, NULL);
    bool well = true;
    for (int32_t i = 0; i < PARTITIONS; i++) {
        partition *p = &f->partitions[i];
        pthread_mutex_init(&p->lock, NULL);
        p->slots = calloc(FIRST_SLOTS, sizeof *p->slots);
        p->slot_mask = FIRST_SLOTS - 1;
        well = well && p->slots;
    }
    if (well) return f;
    sluice_funnel_free(f);
    return NULL;
}

/* How many partitions there are. */
int32_t sluice_funnel_partitions(void) { return PARTITIONS; }

/* The columns of step events. */
typedef struct {
    const int32_t *offsets;
    const uint8_t *names, *end;  /* of all names */
    const int64_t *times, *seqs; /* seqs: where ties ask for them */
    const uint32_t *steps;
} columns;

/* Memory to deal a piece of the rows to their partitions. */
typedef struct {
    uint64_t hashes[PIECE];
    uint16_t order[PIECE];
    uint32_t ends[PARTITIONS + 1];
    uint32_t count;
} deal;

/* Have the slot of a row that is to come fetched. Its table may be moving meanwhile: that costs time only. */
static inline void fetch(funnel *f, uint64_t hash) {
    partition *p = &f->partitions[hash >> (64 - PARTITION_BITS)];
    const slot *slots = __atomic_load_n(&p->slots, __ATOMIC_RELAXED);
    __builtin_prefetch(&slots[(uint32_t)hash & __atomic_load_n(&p->slot_mask, __ATOMIC_RELAXED)]);
}

static inline void put(chunk *into, const columns *c, int64_t at, uint32_t entity) {
    int64_t place = into->count++;
    into->entities[place] = entity;
    into->times[place] = (uint32_t)c->times[at];
    into->high_times[place] = (uint8_t)(c->times[at] >> 32);
    if (into->seqs) into->seqs[place] = c->seqs[at];
    if (into->steps) into->steps[place] = (uint8_t)c->steps[at];
    else into->wide_steps[place] = c->steps[at];
}

/* Add rows from..to-1 of a deal to their partition: all their slots are looked at, then all their names. */
static bool add_to(funnel *f, partition *p, const columns *c, int64_t lo, const deal *d, uint32_t from, uint32_t to) {
    uint32_t likely[TURN], count = to - from;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t next = from + i;
        if (next + AHEAD < d->count) fetch(f, d->hashes[d->order[next + AHEAD]]);
        likely[i] = with_tag(p, (uint32_t)d->hashes[d->order[next]]);
        if (likely[i] != UINT32_MAX) __builtin_prefetch(&p->heads[likely[i]]);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t which = d->order[from + i], entity = likely[i];
        int64_t at = lo + which;
        sought s = sought_of(c->names + c->offsets[at], c->offsets[at + 1] - c->offsets[at], c->end);
        if (entity == UINT32_MAX || !is_name(p, entity, &s)) entity = number_of(p, (uint32_t)d->hashes[which], &s);
        chunk *into = p->last;
        if (entity != UINT32_MAX && (!into || into->count == CHUNK_ROWS)) into = new_chunk(f, p);
        if (entity == UINT32_MAX || !into) return false;
        put(into, c, at, entity);
    }
    return true;
}

static bool add_piece(funnel *f, const columns *c, int64_t lo, int32_t count, deal *d) {
    memset(d->ends, 0, sizeof d->ends);
    d->count = (uint32_t)count;
    for (int32_t i = 0; i < count; i++) {
        int32_t start = c->offsets[lo + i], length = c->offsets[lo + i + 1] - start;
        d->hashes[i] = hash_of(f->seed, c->names + start, length, c->end);
        d->ends[(d->hashes[i] >> (64 - PARTITION_BITS)) + 1]++;
    }
    for (int32_t part = 0; part < PARTITIONS; part++) d->ends[part + 1] += d->ends[part];
    for (int32_t i = 0; i < count; i++) d->order[d->ends[d->hashes[i] >> (64 - PARTITION_BITS)]++] = (uint16_t)i;
    uint32_t from = 0;
    for (int32_t part = 0; part < PARTITIONS; from = d->ends[part++]) {
        partition *p = &f->partitions[part];
        if (from == d->ends[part]) continue;
        pthread_mutex_lock(&p->lock);
        bool well = true;
        for (uint32_t to; well && from < d->ends[part]; from = to) {
            to = d->ends[part] - from < TURN ? d->ends[part] : from + TURN;
            well = add_to(f, p, c, lo, d, from, to);
        }
        pthread_mutex_unlock(&p->lock);
        if (!well) return false;
    }
    return true;
}

/* Add rows of these columns; seqs may be NULL. False without memory. */
int32_t sluice_funnel_add(funnel *f, int64_t count, const int32_t *offsets, const uint8_t *names,
                          const int64_t *times, const int64_t *seqs, const uint32_t *steps) {
    columns c = {offsets, names, names + offsets[count], times, seqs, steps};
    deal *d = malloc(sizeof *d);
    bool well = d != NULL;
    for (int64_t lo = 0; well && lo < count; lo += PIECE)
        well = add_piece(f, &c, lo, (int32_t)(count - lo < PIECE ? count - lo : PIECE), d);
    free(d);
    return well;
}

static inline bool later(const event *a, const event *b, const int64_t *seqs) {
    if (a->time != b->time) return a->time > b->time;
    return seqs && seqs[a->place] > seqs[b->place];
}

static int compared(const void *a, const void *b, void *seqs) {
    return later(a, b, seqs) - later(b, a, seqs);
}

static void sort(event *events, int64_t count, const int64_t *seqs) {
    if (count > FEW) {
        qsort_r(events, (size_t)count, sizeof *events, compared, (void *)seqs);
        return;
    }
    for (int64_t i = 1; i < count; i++) {
        event one = events[i];
        int64_t place = i;
        for (; place && later(&events[place - 1], &one, seqs); place--) events[place] = events[place - 1];
        events[place] = one;
    }
}

/* One entity's chains in one walk: of the chains to a step, the one that was complete last started last. */
static bool walk(const funnel *f, partition *p, uint32_t entity, const event *events, int64_t count) {
    int64_t starts[MAX_STEPS], started[MAX_STEPS], reached[MAX_STEPS];
    uint32_t alive = 0; /* bits: steps that some chain has reached */
    uint32_t all = UINT32_MAX >> (MAX_STEPS - f->steps);
    for (int64_t i = 0; i < count && alive != all;) {
        int64_t time = events[i].time;
        uint32_t steps = events[i++].steps;
        if (f->ties != BY_SEQ)
            for (; i < count && events[i].time == time; i++) steps |= events[i].steps;
        /* The higher step first, so that one event, or second, cannot fill the lower one and then it. */
        while (steps) {
            int32_t step = f->ties == BY_STEP ? __builtin_ctz(steps) : 31 - __builtin_clz(steps);
            uint32_t bit = (uint32_t)1 << step;
            steps ^= bit;
            if (step == 0)
                starts[0] = time;
            else if (alive & (bit >> 1) && time - starts[step - 1] <= f->window)
                starts[step] = starts[step - 1];
            else
                continue;
            if (!(alive & bit)) {
                alive |= bit;
                started[step] = starts[step];
                reached[step] = time;
            }
        }
    }
    if (!grow((void **)&p->chains, &p->chain_room, p->chain_count + (uint64_t)f->steps, sizeof *p->chains))
        return false;
    for (int32_t step = 0; step < f->steps && alive >> step & 1; step++) {
        p->chains[p->chain_count++] = (chain){started[step], reached[step], entity, step + 1};
        p->reached[step]++;
    }
    return true;
}

/* What one thread needs to compute partitions one after the other. */
typedef struct {
    event *events;
    int64_t *seqs, *places;
    uint64_t event_room, seq_room, place_room;
} scratch;

/* Put the rows into the order of their entities; `places` are where each entity's end. False without memory. */
static bool gather(const funnel *f, const partition *p, scratch *s) {
    if (!grow((void **)&s->places, &s->place_room, (uint64_t)p->entities + 1, sizeof *s->places)) return false;
    memset(s->places, 0, ((size_t)p->entities + 1) * sizeof *s->places);
    for (const chunk *c = p->last; c; c = c->before)
        for (int64_t i = 0; i < c->count; i++) s->places[c->entities[i] + 1]++;
    for (uint32_t e = 0; e < p->entities; e++) s->places[e + 1] += s->places[e];
    uint64_t total = (uint64_t)s->places[p->entities];
    if (total > UINT32_MAX || !grow((void **)&s->events, &s->event_room, total, sizeof *s->events)) return false;
    if (f->ties == BY_SEQ && !grow((void **)&s->seqs, &s->seq_room, total, sizeof *s->seqs)) return false;
    for (const chunk *c = p->last; c; c = c->before) {
        for (int64_t i = 0; i < c->count; i++) {
            int64_t place = s->places[c->entities[i]]++;
            int64_t time = (int64_t)c->high_times[i] << 32 | c->times[i];
            s->events[place] = (event){time, c->steps ? c->steps[i] : c->wide_steps[i], (uint32_t)place};
            if (c->seqs) s->seqs[place] = c->seqs[i];
        }
    }
    return true;
}

/* Compute partitions until none is left, after the last row was added; false without memory. */
int32_t sluice_funnel_compute(funnel *f) {
    scratch s = {0};
    bool well = true;
    for (int part; well && (part = atomic_fetch_add(&f->next, 1)) < PARTITIONS;) {
        partition *p = &f->partitions[part];
        int64_t start = 0;
        well = gather(f, p, &s);
        for (uint32_t e = 0; well && e < p->entities; start = s.places[e++]) {
            sort(s.events + start, s.places[e] - start, f->ties == BY_SEQ ? s.seqs : NULL);
            well = walk(f, p, e, s.events + start, s.places[e] - start);
        }
    }
    free(s.events);
    free(s.seqs);
    free(s.places);
    return well;
}

/* How many entities each partition has, and how many chains there are to each step. */
void sluice_funnel_counts(const funnel *f, int64_t *entities, int64_t *reached) {
    for (int32_t part = 0; part < PARTITIONS; part++) {
        entities[part] = f->partitions[part].entities;
        for (int32_t step = 0; step < f->steps; step++) reached[step] += f->partitions[part].reached[step];
    }
}

/* Write how long all chains to a step took, by step to where `seconds` points to. */
void sluice_funnel_seconds(const funnel *f, int64_t **seconds) {
    for (int32_t part = 0; part < PARTITIONS; part++) {
        const partition *p = &f->partitions[part];
        for (uint64_t i = 0; i < p->chain_count; i++)
            *seconds[p->chains[i].step - 1]++ = p->chains[i].reached - p->chains[i].started;
    }
}

/* Write all chains, those of a partition together; an id is an entity's number in it, and its `firsts`. */
void sluice_funnel_chains(const funnel *f, const int64_t *firsts, int64_t *ids, int64_t *steps, int64_t *started,
                          int64_t *reached) {
    for (int32_t part = 0; part < PARTITIONS; part++) {
        const partition *p = &f->partitions[part];
        for (uint64_t i = 0; i < p->chain_count; i++) {
            *ids++ = firsts[part] + p->chains[i].entity;
            *steps++ = p->chains[i].step;
            *started++ = p->chains[i].started;
            *reached++ = p->chains[i].reached;
        }
    }
}

/* By id, how long each name is; or, with `names`, the names themselves to where they start there. */
void sluice_funnel_names(const funnel *f, const int64_t *firsts, int64_t *lengths, const int64_t *starts,
                         uint8_t *names) {
    for (int32_t part = 0; part < PARTITIONS; part++) {
        const partition *p = &f->partitions[part];
        for (uint32_t e = 0; e < p->entities; e++) {
            int64_t id = firsts[part] + e;
            uint64_t length = LENGTH_OF(p->heads[e]);
            const uint8_t *name = (const uint8_t *)p->heads[e].words;
            if (p->heads[e].words[1] == IS_LONG) name = long_name(p, &p->heads[e], &length);
            if (names) memcpy(names + starts[id], name, length);
            else lengths[id] = (int64_t)length;
        }
    }
}
