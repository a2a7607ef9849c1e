/* SPDX-License-Identifier: MIT */
/*
 * Signals interrupt the work only where it is done here; the daemon notices by itself that its
 * client went away.
 */
#include "fs/cli/errand.h"

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

static int run_offline(struct fold_errand *e, const char *store, json_t **result)
{
    struct fold_mount_options opt;
    struct fold_session *s;
    fold_mount_options_init(&opt, geteuid() == 0);
    int rc = fold_session_open(store, &opt, &s);
    if (rc != 0)
        return rc;
    struct sigaction act = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &act, NULL);
    (void)sigaction(SIGTERM, &act, NULL);
    rc = e->offline(e, s, result);
    int closed = fold_session_close(s);
    return rc == 0 || (rc == -ECANCELED && *result != NULL) ? closed : rc;
}

int fold_errand_run(struct fold_errand *e, const char *operand, json_t **result)
{
    char why[256];
    struct fold_target target = {.fd = -1};
    int code = FOLD_EXIT_OK;
    *result = NULL;
    int rc = fold_target_find(operand, &target, why, sizeof why);
    if (rc != 0) {
        json_decref(e->args);
        return fold_cli_fail(e->verb, fold_cli_exit_code(rc), "%s", why);
    }
    if (target.fd >= 0) {
        rc = fold_client_call(target.fd, e->verb->name, e->args, 0, live_progress, e, result, why,
                              sizeof why);
        fold_meter_end(&e->meter);
        if (rc != 0)
            code = fold_cli_fail(e->verb, fold_cli_exit_code(rc), "'%s': %s", operand, why);
        fold_target_free(&target);
        return code;
    }
    json_decref(e->args);
    if (target.point != NULL) {
        code = fold_cli_fail(e->verb, FOLD_EXIT_SYSTEM,
                             "the daemon of '%s' does not answer, or the mount is read-only",
                             target.point);
    } else {
        rc = run_offline(e, target.store, result);
        fold_meter_end(&e->meter);
        if (rc != 0)
            code = fold_cli_fail(e->verb, fold_cli_exit_code(rc), "'%s': %s", operand,
                                 fold_err_text(rc));
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
