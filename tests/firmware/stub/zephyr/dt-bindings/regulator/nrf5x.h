/* See README.md. */
#define NRF5X_REG_MODE_LDO 0
#define NRF5X_REG_MODE_DCDC 1
