/*
 * @ID@: @IDENTITY@
 * @PLACE@
 * @SUMMARY@
 */
#ifndef BEACON_H
#define BEACON_H

#include <stdint.h>

/* In units of 0.625 ms: @INTERVAL@ ms. */
#define BEACON_INTERVAL @INTERVAL_UNITS@

/*
 * Sent from the identity address: the static random address that the chip was made with, and the same after each start. Without
 * this option Zephyr takes another address at each start.
 */
#define BEACON_OPTIONS BT_LE_ADV_OPT_USE_IDENTITY

@ARRAYS@

/* The advertising data, @LENGTH@ bytes. */
#define BEACON_DATA \
@ELEMENTS@

#endif
