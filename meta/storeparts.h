/* SPDX-License-Identifier: MIT */
/*
 * The inside of the store, for the files that make it up (store, collect, compact, usage). Everyone
 * else uses meta/store.h.
 */
#ifndef FOLD_META_STOREPARTS_H
#define FOLD_META_STOREPARTS_H

#include "meta/appender.h"
#include "meta/barrier.h"
#include "meta/forward.h"
#include "meta/index.h"
#include "meta/livemap.h"
#include "meta/locality.h"
#include "meta/openindex.h"
#include "meta/reader.h"
#include "meta/sealer.h"
#include "meta/segmap.h"
#include "meta/segset.h"
#include "meta/store.h"

#include <stdatomic.h>

struct fold_store {
    struct fold_store_options opt;
    int dirfd; /* segments/ */
    struct fold_segset *set;
    struct fold_segmap *map;
    struct fold_forward *forward;
    struct fold_reader *reader;
    struct fold_openindex *open;
    struct fold_index *index; /* NULL: read-only and damaged */
    struct fold_locality *locality;
    struct fold_barrier *barrier;
    struct fold_sealer *sealer;     /* NULL: read-only */
    struct fold_appender *appender; /* NULL: read-only */
    _Atomic uint64_t healed;
    atomic_bool index_sick; /* a lookup in the index failed: it was logged */
    struct fold_livemap
        *_Atomic live;        /* while a collection runs: what lookups hit is marked here */
    _Atomic uint64_t garbage; /* stored bytes the last collection found dead and left */
};

#endif
