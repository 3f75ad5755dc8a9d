/* Stands for the Bluetooth host: prints what it is told to send; see README.md. */
#include <stdio.h>
#include <stdlib.h>
#include <zephyr/bluetooth/bluetooth.h>
#include <zephyr/kernel.h>
#include <zephyr/sys/reboot.h>

int bt_enable(bt_ready_cb_t cb)
{
	(void)cb;
	return getenv("STUB_FAILS") != NULL ? -5 : 0;
}

int bt_le_adv_start(const struct bt_le_adv_param *param, const struct bt_data *ad, size_t ad_len,
		    const struct bt_data *sd, size_t sd_len)
{
	(void)sd;
	printf("%u %u %u %zu ", param->interval_min, param->interval_max, param->options, sd_len);
	for (size_t i = 0; i < ad_len; i++) {
		printf("%02x%02x", ad[i].data_len + 1, ad[i].type);
		for (size_t j = 0; j < ad[i].data_len; j++) {
			printf("%02x", ad[i].data[j]);
		}
	}
	printf("\n");
	return 0;
}

int32_t k_sleep(k_timeout_t timeout)
{
	printf("sleeps %d\n", (int)timeout.ticks);
	return 0;
}

_Noreturn void sys_reboot(int type)
{
	printf("reboots %d\n", type);
	exit(0);
}
