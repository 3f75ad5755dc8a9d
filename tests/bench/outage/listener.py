"""A subscriber in a process of its own, so that nothing else in Python delays its clock: listener.py PORT ID FILE FILTER…

A persistent session. Writes a line for each event: when it was read (seconds since 1970), `sent_at`, the topic, the payload,
with tabs between. It parses nothing; that is done when all is over."""

import signal
import sys
import time

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


def main():
    port, name, path, *filters = sys.argv[1:]
    log = open(path, "ab", buffering=1 << 16)
    session = Properties(PacketTypes.CONNECT)
    session.SessionExpiryInterval = 3600
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, name, protocol=paho.MQTTv5)
    client.reconnect_delay_set(1, 1)
    new = []

    def on_connect(client, _userdata, flags, reason_code, _properties):
        if reason_code.is_failure:
            return
        print("resumed" if flags.session_present else "new", flush=True)
        if not flags.session_present:
            client.subscribe([(part, 1) for part in filters])

    def on_message(_client, _userdata, message):
        at = time.time()
        sent = dict(message.properties.UserProperty).get("sent_at", "")
        log.write(f"{at:.6f}\t{sent}\t{message.topic}\t".encode() + message.payload + b"\n")
        new.append(at)

    client.on_connect = on_connect
    client.on_subscribe = lambda *_: print("subscribed", flush=True)
    client.on_message = on_message
    client.connect("127.0.0.1", int(port), keepalive=60, clean_start=False, properties=session)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    client.loop_start()
    # What was read is on the disk soon, without a write for each event.
    while True:
        time.sleep(0.05)
        if new:
            new.clear()
            log.flush()


if __name__ == "__main__":
    main()
