/* serve_levels.c - what deployments owe outlives the process: saved every second, read at the start. */
#include "cmd/serve_private.h"

#include "os/os.h"
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>

enum { LEVELS_MAX = 64 << 20 };

void serve_levels_recall(struct app *a) {
    struct buf text;
    struct problem why = {0};
    if (!a->levels_path)
        return;
    buf_init(&text, LEVELS_MAX);
    /* A folder without the file is new: all deployments begin empty. */
    if (os_read_file(a->levels_path, &text, JSON_PADDING, &why) == ST_OK &&
        live_recall(a->live, text.p ? text.p : "", text.len, os_wall_us(), &why) != ST_OK)
        fprintf(stderr, "weir: warning: %s: %s\n", a->levels_path, why.message);
    buf_destroy(&text);
}

struct save {
    struct app *app;
    struct buf text;
    struct problem why;
    enum status st;
};

static void save_work(void *arg) {
    struct save *s = arg;
    plan_yard_clear(&s->app->yard); /* not its own business, but it is off the loops, and often */
    s->st = os_replace_file(s->app->levels_path, buf_view(&s->text), &s->why);
}

static void save_free(struct save *s) {
    /* Once, not every second, until it works again. */
    if (s->st != ST_OK && !s->app->has_complained)
        fprintf(stderr, "weir: warning: levels are not saved: %s\n", s->why.message);
    s->app->has_complained = s->st != ST_OK;
    buf_destroy(&s->text);
    free(s);
}

static void save_done(void *arg) {
    struct save *s = arg;
    s->app->is_saving = false;
    serve_end_if_due(s->app);
    save_free(s);
}

static struct save *save_new(struct app *a) {
    struct save *s = xcalloc(1, sizeof *s);
    s->app = a;
    buf_init(&s->text, LEVELS_MAX);
    live_save(a->live, os_wall_us(), &s->text);
    return s;
}

void serve_levels_save(void *app) {
    struct app *a = app;
    if (a->is_saving || a->is_ending)
        return;
    a->is_saving = true;
    loop_work(a->workers[0].loop, save_work, save_done, save_new(a));
}

void serve_levels_save_last(struct app *a) {
    if (!a->levels_path)
        return;
    struct save *s = save_new(a);
    save_work(s);
    save_free(s);
}
