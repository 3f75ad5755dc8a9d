/* See README.md. */
#ifndef STUB_KERNEL_H
#define STUB_KERNEL_H
#include <stddef.h>
#include <stdint.h>
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
typedef struct { int64_t ticks; } k_timeout_t;
#define K_SECONDS(s) ((k_timeout_t){ (s) })
int32_t k_sleep(k_timeout_t timeout);
#endif
