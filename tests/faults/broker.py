"""A real Mosquitto."""

import shutil
import signal
import socket

from common import Failed, end, free_port


class Mosquitto:
    """Listens on a loopback port; keeps the port when it is started again.

    The settings are Mosquitto's own but for the listener, which must be named. In particular nothing is persistent."""

    def __init__(self, run, settings="", name="broker"):
        self.run = run
        self.name = name
        self.port = free_port()
        self.config = run.dir / f"{name}.conf"
        self.program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self.child = None
        # Started by root it would become another user, who cannot read the directory.
        self.config.write_text(f"user root\nlistener {self.port} 127.0.0.1\nallow_anonymous true\n{settings}")
        self.start()

    @property
    def url(self):
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self):
        self.child = self.run.spawn([self.program, "-v", "-c", str(self.config)], f"{self.name}.log", "Mosquitto")
        self.run.wait_for("Mosquitto listens", self._listens)

    def _listens(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def kill(self):
        """kill -9: whatever it held is gone."""
        self.run.unwatch(self.child)
        if self.child.poll() is not None:
            raise Failed(f"Mosquitto had ended by itself with {self.child.returncode}")
        end(self.child)

    def reload(self):
        """Reads its access rules again."""
        self.child.send_signal(signal.SIGHUP)
