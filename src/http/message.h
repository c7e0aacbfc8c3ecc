/* message.h - HTTP/1.x messages as bytes in, events out; strict, so that no two servers can disagree. */
#ifndef HTTP_MESSAGE_H
#define HTTP_MESSAGE_H

#include "base/shelf.h"
#include "http/names.h"

struct http_field {
    struct str name, value; /* value without blanks around it */
    enum http_name id;
};

/* The head of one message. All views point into the reader and live until its next head, or until
 * http_reader_drop_head. */
struct http_head {
    struct str method, target;  /* of a request */
    struct str reason;          /* of a response */
    int status;                 /* of a response */
    int minor;                  /* 0 for HTTP/1.0, 1 for HTTP/1.1 */
    int64_t content_length;     /* -1 when not given */
    bool is_chunked;            /* Transfer-Encoding: chunked */
    bool keep_alive;            /* the sender means to go on with this connection */
    bool expects_continue;      /* Expect: 100-continue */
    bool has_other_expectation; /* Expect: anything else */
    bool has_nominations;       /* Connection: more than keep-alive or close */
    uint64_t has;               /* the set of names that occur */
    struct http_field *fields;
    size_t n_fields;
};

/* The value of the first field of that name, {NULL, 0} when there is none. */
struct str http_head_find(const struct http_head *h, enum http_name id); /* not HTTP_OTHER */
struct str http_head_get(const struct http_head *h, struct str name);

/* How many fields of that name there are. */
size_t http_head_count(const struct http_head *h, struct str name);

enum http_event {
    HTTP_EV_MORE,  /* all input is used up */
    HTTP_EV_HEAD,  /* the head is complete: reader->head */
    HTTP_EV_BODY,  /* a piece of the body: a view into the input */
    HTTP_EV_END,   /* the message is complete; what follows belongs to the next one */
    HTTP_EV_ERROR, /* the message is invalid: reader->error; nothing more can be read */
};

enum { HTTP_PARSER_SIZE = 104 };

/*
 * Reads one message after another. Refused beyond what the parser refuses: both Content-Length and
 * Transfer-Encoding, line feeds without carriage return, folded header lines, transfer encodings
 * other than a single `chunked`, a missing or repeated Host in HTTP/1.1, blank in front of a colon.
 * RFC 9112 sections 2.2, 5.1, 5.2, 6.1 and 6.3 say why each is a way to smuggle requests.
 */
struct http_reader {
    _Alignas(8) unsigned char parser[HTTP_PARSER_SIZE];
    struct http_head head;
    enum status error;      /* ST_OK, or why HTTP_EV_ERROR came */
    const char *error_text; /* static; what exactly is wrong */
    struct shelf *shelf;    /* borrowed; where `text` and `fields` come from, may be NULL */
    struct buf text;        /* the head as it came, owned */
    struct buf fields;      /* of head.fields, owned */
    struct str piece;       /* the body piece of the last HTTP_EV_BODY */
    size_t trailer_bytes;   /* of fields behind the body, which are dropped */
    size_t line_bytes;      /* of the head's line that is not complete */
    char last_byte;         /* of the head so far */
    bool is_request, is_paused;
    bool in_head, has_begun, has_line; /* a byte of it has come; a line that is not blank */
    uint8_t event;                     /* what a callback saw */
};

/* `head_ceiling` is the most that a head may take, with all its bytes. Owns nothing yet. A shelf may be
 * put in before the first byte. */
void http_reader_init(struct http_reader *r, bool is_request, size_t head_ceiling);
void http_reader_destroy(struct http_reader *r);

/*
 * Takes the next event from the front of `in`. HTTP_EV_BODY puts the piece in `body`. Call again until
 * HTTP_EV_MORE. After HTTP_EV_END the reader is ready for the next message.
 */
enum http_event http_read(struct http_reader *r, struct str *in, struct str *body);

/* The sender closed: HTTP_EV_END when that properly ends a message without a length, HTTP_EV_MORE between
 * messages, else HTTP_EV_ERROR. */
enum http_event http_read_eof(struct http_reader *r);

/* True between messages: not one byte of the next has come. */
bool http_reader_is_idle(const struct http_reader *r);

/* Gives the head's memory back early; its views end here. */
void http_reader_drop_head(struct http_reader *r);

/* True for a field that the head's Connection names: it is meant for this connection only too, whatever
 * it is called (RFC 9110 section 7.6.1). */
bool http_is_nominated(const struct http_head *h, struct str name);

/* "HTTP/1.1 429 Too Many Requests\r\n" */
void http_put_status_line(struct buf *out, int status);

/* "name: value\r\n". Control bytes in the value become blanks. */
void http_put_field(struct buf *out, struct str name, struct str value);
void http_put_field_i64(struct buf *out, struct str name, int64_t value);

/* The line before a chunk of n > 0 bytes, at most 18 bytes, into `line`; its length. */
size_t http_chunk_line(char *line, size_t n);

#endif
