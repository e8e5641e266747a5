/* The ordered funnel: step events in any order to the first chain of each entity to each step.
 *
 * Rows are dealt to partitions by their entity's name (dealing.h), so an entity is a small number there, and its
 * rows are counted into place and sorted by themselves. Any number of threads may add at once, and compute at
 * once, a partition at a time. A call that finds no memory says so; all is freed by `free`.
 *
 * The caller is jobs/native/funnel.py.
 */
#include "dealing.h"

enum { BY_SEQ, BY_STEP, BY_INCREASE }; /* which of an entity's events of one second come first */
enum {
    CHUNK_ROWS = 1 << 10,
    MAX_STEPS = 32,
    NARROW = 8, /* steps that fit into a byte */
};

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
    chunk *last;
    chain *chains;
    uint64_t chain_count, chain_room;
    int64_t reached[MAX_STEPS]; /* by step: how many of the chains go to it */
} partition;

typedef struct {
    int64_t window; /* seconds */
    int32_t steps, ties;
    dealer dealer;
    partition partitions[PARTITIONS];
} funnel;

static chunk *new_chunk(funnel *f, partition *p) {
    bool wide = f->steps > NARROW, by_seq = f->ties == BY_SEQ;
    size_t steps = CHUNK_ROWS * (wide ? sizeof(uint32_t) : 1), seqs = by_seq ? CHUNK_ROWS * sizeof(int64_t) : 0;
    chunk *made = dealer_memory(&f->dealer, sizeof *made + seqs + steps);
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
    for (int32_t part = 0; part < PARTITIONS; part++) free(f->partitions[part].chains);
    dealer_end(&f->dealer);
    free(f);
}

/* A funnel to add rows to; NULL without memory. */
funnel *sluice_funnel_new(int32_t steps, int64_t window, int32_t ties, uint64_t seed) {
    funnel *f = calloc(1, sizeof *f);
    if (!f) return NULL;
    f->steps = steps;
    f->window = window;
    f->ties = ties;
    if (dealer_begin(&f->dealer, 1, 0, seed)) return f;
    sluice_funnel_free(f);
    return NULL;
}

/* How many partitions there are. */
int32_t sluice_funnel_partitions(void) { return PARTITIONS; }

/* The columns of step events. */
typedef struct {
    const int64_t *times, *seqs; /* seqs: where ties ask for them */
    const uint32_t *steps;
} columns;

static inline bool keep(void *kernel, const void *of, int32_t part, int64_t at, uint32_t entity) {
    funnel *f = kernel;
    const columns *c = of;
    chunk *into = f->partitions[part].last;
    if (!into || into->count == CHUNK_ROWS) into = new_chunk(f, &f->partitions[part]);
    if (!into) return false;
    int64_t place = into->count++;
    into->entities[place] = entity;
    into->times[place] = (uint32_t)c->times[at];
    into->high_times[place] = (uint8_t)(c->times[at] >> 32);
    if (into->seqs) into->seqs[place] = c->seqs[at];
    if (into->steps) into->steps[place] = (uint8_t)c->steps[at];
    else into->wide_steps[place] = c->steps[at];
    return true;
}

/* Add rows of these columns; seqs may be NULL. False without memory. */
int32_t sluice_funnel_add(funnel *f, int64_t count, const int32_t *offsets, const uint8_t *names,
                          const int64_t *times, const int64_t *seqs, const uint32_t *steps) {
    columns c = {times, seqs, steps};
    return dealer_add(&f->dealer, count, offsets, names, keep, f, &c);
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
    if (!names_grow((void **)&p->chains, &p->chain_room, p->chain_count + (uint64_t)f->steps, sizeof *p->chains))
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
static bool gather(const funnel *f, const partition *p, uint32_t entities, scratch *s) {
    if (!names_grow((void **)&s->places, &s->place_room, (uint64_t)entities + 1, sizeof *s->places)) return false;
    memset(s->places, 0, ((size_t)entities + 1) * sizeof *s->places);
    for (const chunk *c = p->last; c; c = c->before)
        for (int64_t i = 0; i < c->count; i++) s->places[c->entities[i] + 1]++;
    for (uint32_t e = 0; e < entities; e++) s->places[e + 1] += s->places[e];
    uint64_t total = (uint64_t)s->places[entities];
    if (total > UINT32_MAX || !names_grow((void **)&s->events, &s->event_room, total, sizeof *s->events)) return false;
    if (f->ties == BY_SEQ && !names_grow((void **)&s->seqs, &s->seq_room, total, sizeof *s->seqs)) return false;
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
    for (int part; well && (part = atomic_fetch_add(&f->dealer.next, 1)) < PARTITIONS;) {
        partition *p = &f->partitions[part];
        int64_t start = 0;
        uint32_t entities = f->dealer.partitions[part].names.count;
        well = gather(f, p, entities, &s);
        for (uint32_t e = 0; well && e < entities; start = s.places[e++]) {
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
        entities[part] = f->dealer.partitions[part].names.count;
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
        const name_table *known = &f->dealer.partitions[part].names;
        for (uint32_t e = 0; e < known->count; e++) {
            int64_t id = firsts[part] + e;
            uint64_t length;
            const uint8_t *name = names_text(known, e, &length);
            if (names) memcpy(names + starts[id], name, length);
            else lengths[id] = (int64_t)length;
        }
    }
}
