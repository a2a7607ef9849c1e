/* SPDX-License-Identifier: MIT */
/*
 * Which calls into the host fail, and which end the process: as the plan says.
 */
#include "tests/sim/shared.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

void sim_host_die(void)
{
    kill(getpid(), SIGKILL);
    for (;;) {
        pause();
    }
}

/* What the plan wants of this call. */
enum sim_fault sim_host_planned(enum sim_calls call)
{
    struct sim_shared *shared = sim_host_shared();
    if (!shared) {
        return SIM_NO_FAULT;
    }
    struct sim_plan *p = &shared->plan;
    enum sim_fault f = atomic_load(&p->fault);
    if (f == SIM_NO_FAULT || f == SIM_ENOMEM || !(atomic_load(&p->calls) & call)) {
        return SIM_NO_FAULT;
    }
    uint64_t wait = atomic_load(&p->wait);
    while (wait > 0) {
        if (atomic_compare_exchange_weak(&p->wait, &wait, wait - 1)) {
            return SIM_NO_FAULT;
        }
    }
    if (atomic_fetch_sub(&p->repeat, 1) == 1) {
        atomic_store(&p->fault, SIM_NO_FAULT);
    }
    atomic_fetch_add(&p->fired, 1);
    return f;
}

/* -1 with errno if the call is to fail. */
int sim_host_refused(enum sim_calls call)
{
    enum sim_fault f = sim_host_planned(call);
    if (f == SIM_KILL || f == SIM_KILL_HALF) {
        sim_host_die();
    }
    if (f == SIM_EIO || f == SIM_ENOSPC) {
        errno = f == SIM_EIO || call == SIM_CALL_SYNC || call == SIM_CALL_READ ? EIO : ENOSPC;
        return -1;
    }
    return 0;
}
