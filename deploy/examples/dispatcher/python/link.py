"""The connection to the broker: a session that outlives it, and acknowledgements that are given by hand."""

import argparse
import os
import queue
import threading
from dataclasses import dataclass
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions


def say(text):
    os.write(2, f"{text}\n".encode())


def option(parser, name, default=None, **more):
    """An argument that may stand in the environment, too: --client-id is DISPATCHER_CLIENT_ID."""
    variable = "DISPATCHER_" + name.strip("-").replace("-", "_").upper()
    value = os.environ.get(variable, default)
    more["help"] = f"{more.get('help', '')} [{variable}{'' if default is None else f', {default}'}]"
    parser.add_argument(name, default=value, **more)


def add_options(parser):
    option(parser, "--broker", "mqtt://localhost", help="mqtt://HOST[:PORT], or mqtts:// with TLS")
    option(parser, "--username", help="name at the broker")
    option(parser, "--password-file", help="file with the password at the broker")
    option(parser, "--tls-ca", help="file with the certificates to trust; without it the system's")
    option(parser, "--prefix", "beaconfence/v1", help="what all topics begin with")
    option(parser, "--site", "+", help="the store, or + for all of them")
    option(parser, "--session-expiry", "604800", type=int, help="seconds for which the broker keeps what is for us while we are away")


@dataclass(frozen=True)
class Message:
    topic: str
    payload: bytes
    mid: int
    qos: int
    connection: int


class Link:
    """Puts what comes into `inbox`; nothing is acknowledged before `ack`.

    After a broken connection the broker sends again what was not acknowledged, perhaps under a number that was given to another message
    before. So each message knows its connection, and those of older ones are neither handled nor acknowledged."""

    def __init__(self, options, client_id, topics, receive_maximum=32, leave=False):
        self.inbox = queue.Queue()
        self.failed = threading.Event()
        self.connected = threading.Event()
        self.new_session = threading.Event()
        self._topics = topics
        self._leave = leave
        self._connection = 0
        self._lock = threading.Lock()
        self._connect_properties = Properties(PacketTypes.CONNECT)
        self._connect_properties.SessionExpiryInterval = options.session_expiry
        # So much is in our hands at once, and no more; the rest waits at the broker, for us or for the others of the group.
        self._connect_properties.ReceiveMaximum = receive_maximum
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5, manual_ack=True)
        client.reconnect_delay_set(1, 30)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_subscribe, client.on_message = self._on_subscribe, self._on_message
        url = urlsplit(options.broker if "://" in options.broker else f"mqtt://{options.broker}")
        if url.scheme not in ("mqtt", "mqtts") or not url.hostname:
            raise SystemExit(f"{options.broker} is no broker; write mqtt://HOST:PORT or mqtts://HOST:PORT")
        if url.scheme == "mqtts":
            client.tls_set(ca_certs=options.tls_ca)
        if options.username:
            password = None
            if options.password_file:
                with open(options.password_file, encoding="utf-8") as file:
                    password = file.read().rstrip("\n")
            client.username_pw_set(options.username, password)
        self._client = client
        self._address = url.hostname, url.port or (8883 if url.scheme == "mqtts" else 1883)

    def start(self):
        host, port = self._address
        self._client.connect_async(host, port, keepalive=30, clean_start=False, properties=self._connect_properties)
        self._client.loop_start()

    def stop(self):
        """Goes away; the session stays, but of who leaves."""
        properties = Properties(PacketTypes.DISCONNECT)
        if self._leave:
            properties.SessionExpiryInterval = 0
        self._client.disconnect(properties=properties)
        self._client.loop_stop()

    def is_current(self, message):
        return message.connection == self._connection

    def ack(self, message):
        with self._lock:
            if self.is_current(message):
                self._client.ack(message.mid, message.qos)

    def publish(self, topic, payload):
        self._client.publish(topic, payload, qos=1)

    def _on_connect(self, client, _userdata, flags, reason, _properties):
        if reason.is_failure:
            say(f"the broker refuses the connection: {reason}")
            return
        with self._lock:
            self._connection += 1
        if not flags.session_present:
            self.new_session.set()
        if self._leave:
            # What was handed to us already still comes.
            client.unsubscribe(self._topics)
            self.connected.set()
            return
        # Retained messages only where the subscription is new: else the session has what is new.
        client.subscribe([(topic, SubscribeOptions(qos=1, retainHandling=1)) for topic in self._topics])
        self.connected.set()
        say("connected" + ("" if flags.session_present else ", to a new session"))

    def _on_disconnect(self, _client, _userdata, _flags, reason, _properties):
        with self._lock:
            self._connection += 1
        self.connected.clear()
        if reason.is_failure:
            say(f"the connection is lost: {reason}")

    def _on_subscribe(self, _client, _userdata, _mid, reasons, _properties):
        refused = [f"{topic}: {reason}" for topic, reason in zip(self._topics, reasons) if reason.is_failure]
        if refused:
            say("the broker refuses a subscription: " + ", ".join(refused))
            self.failed.set()

    def _on_message(self, _client, _userdata, message):
        self.inbox.put(Message(message.topic, message.payload, message.mid, message.qos, self._connection))


def parser(description):
    made = argparse.ArgumentParser(description=description)
    add_options(made)
    return made
