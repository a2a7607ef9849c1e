/* SPDX-License-Identifier: MIT */
/*
 * What a process may do beyond others, as the kernel states it in /proc. It may change while it is
 * read: good for deciding about requests of that process, not about anything older.
 */
#ifndef FOLD_FS_CAPABILITY_H
#define FOLD_FS_CAPABILITY_H

#include "meta/base/attr.h"

#include <sys/types.h>

/*
 * Is capability number `cap` (<linux/capability.h>) effective in the process or thread? 1 or 0; 0
 * also where it holds only inside another user namespace than ours. -errno if that cannot be found
 * out: no such process, no /proc.
 */
int fold_capability_held(pid_t pid, unsigned cap) FOLD_MUST;

#endif
