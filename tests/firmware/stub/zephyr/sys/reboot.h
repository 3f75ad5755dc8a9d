/* See README.md. */
#define SYS_REBOOT_WARM 0
#define SYS_REBOOT_COLD 1
_Noreturn void sys_reboot(int type);
