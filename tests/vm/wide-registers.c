/* Lets user-mode Linux 6.1 run on processors with more registers than it knows.

   It keeps 2696 bytes of a process's extended registers and gives that much back (PTRACE_SETREGSET, NT_X86_XSTATE). The
   host's kernel takes all of them or none, and with AMX they are 11008 bytes. So what is given back is filled up to the
   host's size. What is filled up is not read: in the header (XSTATE_BV), which user-mode Linux keeps, AMX is in its
   initial state, since no process gets AMX without asking its kernel, and the guest's kernel does not know the question.

   For LD_PRELOAD: the guest kernel is linked to libc. Not thread-safe, since the guest has one processor. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

static unsigned char registers[1 << 16];

long ptrace(enum __ptrace_request request, ...)
{
    static long (*host_ptrace)(enum __ptrace_request, ...);
    static size_t host_size;
    va_list arguments;
    va_start(arguments, request);
    pid_t pid = va_arg(arguments, pid_t);
    void *address = va_arg(arguments, void *);
    void *data = va_arg(arguments, void *);
    va_end(arguments);
    if (!host_ptrace)
        host_ptrace = (long (*)(enum __ptrace_request, ...))dlsym(RTLD_NEXT, "ptrace");
    if (request == PTRACE_SETREGSET && address == (void *)NT_X86_XSTATE) {
        struct iovec given = *(struct iovec *)data;
        if (!host_size) {
            struct iovec all = {registers, sizeof registers};
            if (host_ptrace(PTRACE_GETREGSET, pid, address, &all) == 0)
                host_size = all.iov_len;
        }
        if (host_size > given.iov_len) {
            struct iovec whole = {registers, host_size};
            memcpy(registers, given.iov_base, given.iov_len);
            memset(registers + given.iov_len, 0, host_size - given.iov_len);
            return host_ptrace(request, pid, address, &whole);
        }
    }
    return host_ptrace(request, pid, address, data);
}
