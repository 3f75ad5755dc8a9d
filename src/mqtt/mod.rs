//! The wire payloads, and the way to the broker. The only folder that names the MQTT client.
