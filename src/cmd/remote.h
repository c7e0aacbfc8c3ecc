/* remote.h - a running server's control plane, one request at a time: for
 * commands that manage it. */
#ifndef CMD_REMOTE_H
#define CMD_REMOTE_H

#include "base/buf.h"
#include "base/status.h"

struct remote;

/*
 * Reads where the server is and who we are from the file that it wrote
 * (operator.json of its data folder), and fetches a token. ST_* with what a
 * person can do about it in `why`.
 */
enum status remote_open(const char *operator_file, struct remote **out,
                        struct problem *why) MUST_USE;
void remote_close(struct remote *r); /* accepts NULL */

struct remote_answer {
    int status;
    struct buf body; /* JSON_PADDING readable bytes behind it */
    char async_operation[2048];
};
void remote_answer_destroy(struct remote_answer *a);

/* `target` is path and query. Any status is an answer; ST_* when there is none.
 * `body` "" sends none. The answer is destroyed by the caller, also after a
 * failure. */
enum status remote_call(struct remote *r, const char *method, struct str target, struct str body,
                        struct remote_answer *out, struct problem *why) MUST_USE;

/* Waits until an operation that an answer began has ended. ST_FAILED with ARM's
 * own words. */
enum status remote_wait(struct remote *r, const struct remote_answer *begun,
                        struct problem *why) MUST_USE;

/* ARM's code and message of an answer that is a refusal, for a person. */
enum status remote_refusal(const struct remote_answer *a, struct str target, struct problem *why);

/* DATA-DIR/operator.json unless a file is given; into `out`, which holds `size`
 * bytes. */
void remote_operator_file(const char *data_dir, const char *given, char *out, size_t size);

#endif
