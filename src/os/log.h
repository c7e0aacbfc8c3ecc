/* log.h - a file of lines that many threads write without waiting for the disk, or for a pipe's reader. */
#ifndef OS_LOG_H
#define OS_LOG_H

#include "base/buf.h"
#include "base/status.h"

/*
 * One thread of its own writes; everybody else hands it whole buffers, and never waits. When more than
 * LOG_AHEAD_MAX bytes wait already, what is handed over is lost: the oldest lines stay, without a gap
 * among them. Lines that cannot be written (a full disk) are lost too. Those that are lost are counted,
 * and standard error tells once that it began, and how many there were when lines are taken again.
 * Lines of one writer keep their order.
 */
struct log;

enum { LOG_AHEAD_MAX = 64 << 20 };

/* `path` is appended to; "-" is standard output. A pipe needs its reader: without one it is refused. */
enum status log_open(const char *path, struct log **out, struct problem *why) MUST_USE;

/* Hands over the buffer's bytes, whole lines, and with them its memory: `lines` is empty after. Any thread. */
void log_write(struct log *l, struct buf *lines);

/* How many lines were lost since this was asked last, by whomever. Any thread. */
int64_t log_take_lost(struct log *l);

/* Opens the file anew after what was handed over so far, for whoever renames logs. Any thread. */
void log_reopen(struct log *l);

/* Writes everything out and closes, but waits no longer than 5 s for a pipe whose reader takes nothing.
 * No log_write may follow. NULL is fine. */
void log_close(struct log *l);

#endif
