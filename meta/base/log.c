/* SPDX-License-Identifier: MIT */
/*
 * The log: formats one line and hands it to stderr or syslog.
 */
#include "meta/base/log.h"

#include "meta/base/say.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <syslog.h>

static atomic_int max_level = FOLD_LOG_INFO;
static atomic_bool use_syslog;

void fold_log_set_level(enum fold_log_level level)
{
    atomic_store(&max_level, (int)level);
}

void fold_log_to_syslog(void)
{
    openlog("foldfs", LOG_PID, LOG_DAEMON);
    atomic_store(&use_syslog, true);
}

void fold_log(enum fold_log_level level, const char *fmt, ...)
{
    static const char *const words[] = {"error", "warning", "info", "debug"};
    static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
    if ((int)level > atomic_load_explicit(&max_level, memory_order_relaxed))
        return;
    int saved = errno;
    char line[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (atomic_load(&use_syslog)) {
        char shown[2 * sizeof line];
        (void)fold_escape(line, shown, sizeof shown);
        syslog(priorities[level], "%s", shown);
    } else {
        fold_say(stderr, "foldfs: %s: %s", words[level], line);
    }
    errno = saved;
}
