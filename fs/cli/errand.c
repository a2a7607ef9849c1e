/* SPDX-License-Identifier: MIT */
/*
 * Signals interrupt the work only where it is done here; the daemon notices by itself that its
 * client went away.
 */
#include "fs/cli/errand.h"

#include "fs/cli/await.h"
#include "fs/cli/client.h"
#include "fs/cli/verbs.h"
#include "fs/session.h"
#include "meta/base/err.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

static void on_signal(int signal)
{
    (void)signal;
    interrupted = 1;
}

bool fold_errand_interrupted(void)
{
    return interrupted != 0;
}

void fold_errand_progress(struct fold_errand *e, const char *step, uint64_t done, uint64_t total)
{
    fold_meter_show(&e->meter, step, done, total);
}

/* Work of one step only does not name it. */
static void live_progress(void *arg, const json_t *p)
{
    struct fold_errand *e = arg;
    const char *step = json_string_value(json_object_get(p, "step"));
    fold_errand_progress(e, step != NULL ? step : e->verb->name,
                         (uint64_t)json_integer_value(json_object_get(p, "done")),
                         (uint64_t)json_integer_value(json_object_get(p, "total")));
}

static int run_offline(struct fold_errand *e, const char *store, json_t **result, char *why,
                       size_t why_size)
{
    struct fold_mount_options opt;
    struct fold_session *s;
    int rc = fold_store_await(e->verb, store, false, why, why_size);
    if (rc != 0)
        return rc;
    fold_mount_options_init(&opt, geteuid() == 0);
    rc = fold_session_open(store, &opt, &s);
    if (rc != 0) {
        (void)snprintf(why, why_size, "'%s': %s", store, fold_err_text(rc));
        return rc;
    }
    struct sigaction act = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &act, NULL);
    (void)sigaction(SIGTERM, &act, NULL);
    rc = e->offline(e, s, result);
    int closed = fold_session_close(s);
    rc = rc == 0 || (rc == -ECANCELED && *result != NULL) ? closed : rc;
    if (rc != 0)
        (void)snprintf(why, why_size, "'%s': %s", store, fold_err_text(rc));
    return rc;
}

/* True if the daemon did the work, or tried to; false if it is just closing the store. */
static bool run_live(struct fold_errand *e, struct fold_target *target, const char *operand,
                     json_t **result, int *code)
{
    char why[256];
    int rc = fold_client_call(target->fd, e->verb->name, e->args, 0, live_progress, e, result, why,
                              sizeof why);
    fold_meter_end(&e->meter);
    if (rc == -ESHUTDOWN && target->point == NULL)
        return false;
    *code = FOLD_EXIT_OK;
    if (rc == -EROFS)
        *code = fold_cli_fail(e->verb, FOLD_EXIT_SYSTEM, "'%s' is mounted read-only", operand);
    else if (rc != 0)
        *code = fold_cli_fail(e->verb, fold_cli_exit_code(rc), "'%s': %s", operand, why);
    return true;
}

int fold_errand_run(struct fold_errand *e, const char *operand, json_t **result)
{
    char why[4608];
    struct fold_target target = FOLD_TARGET_NONE;
    int code = FOLD_EXIT_OK;
    *result = NULL;
    int rc = fold_target_find(operand, &target, why, sizeof why);
    if (rc != 0) {
        json_decref(e->args);
        return fold_cli_fail(e->verb, fold_cli_exit_code(rc), "%s", why);
    }
    if (target.fd >= 0) {
        if (run_live(e, &target, operand, result, &code)) {
            fold_target_free(&target);
            return code;
        }
    } else {
        json_decref(e->args);
    }
    if (target.point != NULL) {
        code = fold_cli_fail(e->verb, FOLD_EXIT_SYSTEM, "the daemon of '%s' does not answer",
                             target.point);
    } else {
        rc = run_offline(e, target.store, result, why, sizeof why);
        fold_meter_end(&e->meter);
        if (rc != 0)
            code = fold_cli_fail(e->verb, fold_cli_exit_code(rc), "%s", why);
    }
    fold_target_free(&target);
    return code;
}

static bool is_rate(const char *value, uint64_t *rate)
{
    return fold_size_parse(value, rate) == 0 && *rate > 0 && *rate <= INT64_MAX;
}

bool fold_errand_ask(const struct fold_verb *verb, int argc, char **argv, int flag,
                     struct fold_errand_wish *w, int *code)
{
    struct fold_cli cli;
    const char *value;
    int id;
    *w = (struct fold_errand_wish){0};
    fold_cli_begin(&cli, verb, argc, argv);
    while ((id = fold_cli_next(&cli, &value)) != FOLD_CLI_END) {
        if (id == FOLD_CLI_EXIT) {
            *code = cli.exit;
            return false;
        }
        w->flag = w->flag || id == flag;
        w->as_json = w->as_json || id == 'j';
        if (id == 'r' && !is_rate(value, &w->rate)) {
            *code = fold_cli_misuse(verb, "--rate %s: not a number of bytes", value);
            return false;
        }
    }
    char **operands = fold_cli_operands(&cli, 1, 1, NULL);
    *code = cli.exit;
    w->operand = operands != NULL ? operands[0] : NULL;
    return operands != NULL;
}
