/* SPDX-License-Identifier: MIT */
/*
 * What the system says of FUSE over io_uring before anything is mounted.
 */
#ifndef FOLD_FS_RING_OFFER_H
#define FOLD_FS_RING_OFFER_H

#include "meta/base/attr.h"

/* 0 if this kernel offers the transport to new mounts; otherwise why not (-FOLD_E_NO_RING,
 * -FOLD_E_RING_OFF). The fuse module must have been loaded. */
int fold_ring_offered(void) FOLD_MUST;

/* How many queues the kernel has: one for each processor there may ever be. 0 if it cannot be
 * told. */
unsigned fold_ring_queues(void);

/* Number of processors in a list such as "0-3,8"; 0 if it is none. */
unsigned fold_ring_count_cpus(const char *list);

#endif
