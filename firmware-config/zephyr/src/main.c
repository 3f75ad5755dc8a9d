/* Sends what beacon.h says, for as long as there is current. */
#include <zephyr/kernel.h>
#include <zephyr/bluetooth/bluetooth.h>
#include <zephyr/sys/reboot.h>

#include "beacon.h"

static const struct bt_data data[] = { BEACON_DATA };

/* Neither connectable nor scannable: nothing is listened for, which halves what an event costs. */
static const struct bt_le_adv_param parameters =
	BT_LE_ADV_PARAM_INIT(BEACON_OPTIONS, BEACON_INTERVAL, BEACON_INTERVAL, NULL);

int main(void)
{
	int error = bt_enable(NULL);

	if (error == 0) {
		error = bt_le_adv_start(&parameters, data, ARRAY_SIZE(data), NULL, 0);
	}
	if (error != 0) {
		/* A beacon hangs where nobody presses its reset button. */
		k_sleep(K_SECONDS(10));
		sys_reboot(SYS_REBOOT_COLD);
	}
	return 0;
}
