/* base.h - the few macros that every file may use: attributes, cleanup, TRY and array helpers. */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef NDEBUG
#error "asserts stay on: a crash with a line beats a wrong bill"
#endif

/* The caller must look at the result. */
#define MUST_USE __attribute__((warn_unused_result))

/* Parameter I is a printf format whose arguments begin at FIRST. */
#define PRINTF_LIKE(I, FIRST) __attribute__((format(printf, I, FIRST)))

/* Runs fn(&variable) when the variable leaves its block. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* A local that its block fills before it reads: exempt from the zeroing that the build asks for, which
 * is cheap for scalars and not for half a kilobyte on the path of every call. */
#define UNINITIALIZED __attribute__((uninitialized))

/* For what is a move or two when its arguments are known, and is called so often that the compiler
 * would rather keep one copy. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* The struct that holds `member`, given a pointer to that member. */
/* clang-format off */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))
/* clang-format on */

/* Returns from the enclosing function when `expr` is not ST_OK. The only macro with hidden control
 * flow. */
#define TRY(expr)                                                                                  \
    do {                                                                                           \
        enum status try_status_ = (expr);                                                          \
        if (UNLIKELY(try_status_ != ST_OK))                                                        \
            return try_status_;                                                                    \
    } while (0)

/* clang-format off */
static inline int64_t i64_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t i64_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline size_t size_min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t size_max(size_t a, size_t b) { return a > b ? a : b; }
/* clang-format on */

#endif
