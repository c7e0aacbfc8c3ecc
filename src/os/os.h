/* os.h - the operating system as the program sees it: clocks, random bytes, files, environment. */
#ifndef OS_OS_H
#define OS_OS_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/siphash.h"

/* CLOCK_MONOTONIC in nanoseconds. */
int64_t os_now_ns(void);

/* The same as a clock to hand in; static. */
extern const struct clock os_clock;

/* Microseconds since 1970, UTC; for logs, rows and tokens only, never for admission. */
int64_t os_wall_us(void);

/* "2026-11-22T01:02:03.456Z" into out, which holds 25 bytes, NUL included. */
void os_format_time(int64_t wall_us, char *out);

/* n bytes nobody can guess. */
void os_random(void *out, size_t n);
struct siphash_key os_random_key(void);

/* The whole file appended to `out`, up to its ceiling, with `slack` readable bytes behind. `why`
 * names the file and the system's reason. */
enum status os_read_file(const char *path, struct buf *out, size_t slack,
                         struct problem *why) MUST_USE;

/* Replaces the file in one step: readers see the old or the new content, never a mix, and the new one
 * is on the disk when this returns. The file's mode is 0600. */
enum status os_replace_file(const char *path, struct str content, struct problem *why) MUST_USE;

/* Makes the folder and those above it; an existing one is fine. */
enum status os_make_folder(const char *path, struct problem *why) MUST_USE;

/* The regular files in a folder whose names end so, sorted by name; `paths` and its texts are freed
 * by os_free_paths. */
struct os_paths {
    char **path;
    size_t count;
};
enum status os_list_folder(const char *path, struct str suffix, struct os_paths *out,
                           struct problem *why) MUST_USE;
void os_free_paths(struct os_paths *paths);
bool os_is_folder(const char *path);

/* How many processors this process may use, at least 1. */
int os_processors(void);

/*
 * Who waits for whom where threads of ours want the same processor (decision 0025).
 *
 * A nice value is a share, not a precedence: a thread that has begun keeps the processor for a slice (0.7 to
 * 3 ms, as Linux is set), however nice it is, and one that wakes up waits meanwhile. From Linux 6.12 on a thread may
 * ask for shorter slices; then it takes the processor from one with longer ones as soon as it wakes up,
 * unless it has had more than its share by then. Earlier versions take the wish and do nothing with it.
 */

/* The calling thread serves calls: from now on its slices are the shortest there are (0.1 ms). Threads
 * that it begins inherit that, until they give way. */
void os_thread_take_short_turns(void);

/* For threads for which no call should wait. At this many steps less than a tenth of a processor is left
 * to them when a loop could use all of it, and a loop that wakes up has practically never had its share: with 5,
 * a third of the waits remained. */
enum { OS_GIVES_WAY = 10 };

/* From now on the calling thread gives way to the others where they want the same processor: its nice
 * value is `steps` above the one that it began with, its slices have the system's length, and it
 * takes the processor from nobody when it wakes up (SCHED_BATCH). To say so again, or with fewer steps, changes
 * nothing. */
void os_thread_give_way(int steps);

/* Raises the limit of open files as far as the system allows; the limit in force, INT64_MAX for none. */
int64_t os_raise_file_limit(void);

#endif
